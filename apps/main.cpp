#include "apps/command.h"

int main(int count, char** words) {
  return decant::apps::run_program({words + 1, words + count});
}
