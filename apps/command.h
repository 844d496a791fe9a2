#pragma once

#include <functional>
#include <set>
#include <string>
#include <vector>

#include "apps/options.h"

namespace decant::apps {

/// How a command ends, as the program's exit code.
/// held: another process is at work on the one job that was asked for (EX_TEMPFAIL).
enum class Exit : int { done = 0, check_failed = 1, bad_input = 2, held = 75, interrupted = 130 };

/// What was on the command line besides values.
struct Arguments {
  std::set<std::string> given;  ///< names of the keys that a flag, a file or key=value has set
  std::set<std::string> typed;  ///< those of them that a flag or key=value has set
  bool print_config = false;
};

/// One subcommand: `decant NAME ...`.
struct Command {
  std::string name;
  std::string summary;
  std::string examples;  ///< lines of the help's end, each a command line
  std::string hidden;    ///< keys that begin so are no part of the help; "" hides none
  std::function<Exit(const std::vector<std::string>& words)> run;
};

/// Sets options from the words of a command line: the flags of `keys` (a key whose flag has no
/// dashes is a positional word), --config FILE, --print-config and key=value. Later ones win:
/// defaults, the file, flags, key=value; of one flag given twice the second. A known key=value is a
/// setting wherever it stands, but behind a flag of one value. Prints the help and returns false
/// where that was asked.
/// Throws Error for words it cannot place, with the nearest flag or key.
bool parse(const Command& command, std::span<const Key> keys, std::vector<std::string> words,
           Arguments& arguments);

/// What `--threads` asks for; 0 takes what this process may run on. Throws Error for fewer, and for
/// more than 16 where that is more than four for each processor.
void take_threads(int threads);

/// For a file that the end of a long command will write ("" for none): throws Error naming it now
/// where its folder is missing or may not be written.
void require_writable(const std::string& file);

void print_config(std::span<const Key> keys);

/// A command with an options struct (see KeyCollector) and what it does with it. Where the struct
/// has a write_out(arguments), that writes out what names stand for before --print-config shows it.
template <class Options>
Command make_command(std::string name, std::string summary, std::string examples,
                     Exit (*run)(Options&, const Arguments&), std::string hidden = "") {
  Command command{std::move(name), std::move(summary), std::move(examples), std::move(hidden),
                  nullptr};
  const Command description = command;
  command.run = [description, run](const std::vector<std::string>& words) {
    Options options;
    const std::vector<Key> keys = keys_of(options);
    Arguments arguments;
    if (!parse(description, keys, words, arguments)) return Exit::done;
    if constexpr (requires { options.write_out(arguments); }) options.write_out(arguments);
    if (arguments.print_config) {
      print_config(keys);
      return Exit::done;
    }
    return run(options, arguments);
  };
  return command;
}

/// The subcommands, in the order of the help; one file of commands/ each.
Command phantom_command();
Command check_data_command();
Command train_command();
Command distill_command();
Command evaluate_command();
Command compare_command();
Command report_command();
Command verify_command();
Command matrix_command();
Command predict_command();
Command summary_command();
Command convert_command();
Command export_command();
Command gradcheck_command();
Command bench_command();

/// "0.1.0"
const char* program_version();

/// "0.1.0 build 00f1e2d3c4b5a697": the version and a digest of the program's own file, which no two
/// builds share.
const std::string& program_build();

/// The program: finds the command, runs it, and turns what it throws into one line and an exit
/// code.
int run_program(const std::vector<std::string>& words);

}  // namespace decant::apps
