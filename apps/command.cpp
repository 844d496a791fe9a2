#include "apps/command.h"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <map>
#include <new>
#include <thread>

#include "apps/console.h"
#include "apps/run_folder.h"
#include "engine/core/parallel.h"
#include "engine/core/rng.h"

#ifndef DECANT_VERSION
#define DECANT_VERSION "unknown"
#endif

namespace decant::apps {
namespace {

constexpr std::string_view kPurpose = "For research, not for diagnosis.";

// The default as the help shows it.
std::string shown_default(const Key& key) {
  const Json value = key.get();
  if (value.is_null() || (value.is_string() && value.get<std::string>().empty()) ||
      (value.is_array() && value.empty()))
    return "";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

bool is_hidden(const Key& key, const Command& command) {
  return !command.hidden.empty() && key.name.starts_with(command.hidden);
}

std::string config_keys_help(std::span<const Key> keys, const Command& command) {
  std::string text;
  for (const Key& key : keys) {
    if (!key.flag.empty() || is_hidden(key, command)) continue;
    std::string line = "  " + key.name + "=" + shown_default(key);
    line.resize(std::max<size_t>(line.size() + 2, 34), ' ');
    text += line + key.help + "\n";
  }
  return text.empty() ? "" : "More settings (key=value, or in --config FILE):\n" + text + "\n";
}

bool names_key(std::span<const Key> keys, std::string_view name) {
  return std::ranges::any_of(keys, [&](const Key& key) {
    return name == key.name || (key.expected == "JSON" && name.starts_with(key.name + "."));
  });
}

// Whether the next word is this flag's, whatever it says.
bool takes_next(std::span<const Key> keys, std::string_view flag) {
  return flag == "--config" || std::ranges::any_of(keys, [&](const Key& key) {
           return flag == key.flag && flag.starts_with("-") && !key.many &&
                  key.expected != "true or false";
         });
}

// Takes key=value out of the words: a flag or a positional word that takes a list would take it
// too. (A file of such a name is ./key=value.)
std::vector<std::string> take_settings(std::span<const Key> keys, std::vector<std::string>& words) {
  std::vector<std::string> settings;
  std::vector<std::string> others;
  bool belongs = false;  // to the flag before
  for (std::string& word : words) {
    const size_t equals = word.find('=');
    const bool setting = !belongs && equals != std::string::npos &&
                         names_key(keys, std::string_view(word).substr(0, equals));
    belongs = !belongs && takes_next(keys, word);
    (setting ? settings : others).push_back(std::move(word));
  }
  words = std::move(others);
  return settings;
}

// A word beside the one that a positional key takes.
void refuse_second(std::span<const Key> keys, const std::string& word) {
  if (word.find('=') != std::string::npos) return;
  for (const Key& key : keys)
    if (!key.flag.empty() && !key.flag.starts_with("-"))
      throw Error(str(key.name, ": expected one (", key.help, "), got ", shown_default(key),
                      " and ", word));
}

// The words that no flag took: key=value, or something to refuse.
void place_extras(std::span<const Key> keys, const std::vector<std::string>& extras,
                  Arguments& arguments) {
  for (const std::string& word : extras) {
    if (!word.starts_with("-")) {
      refuse_second(keys, word);
      apply_override(keys, word);
      arguments.typed.insert(word.substr(0, word.find('=')));
      continue;
    }
    std::vector<std::string> flags = {"--config", "--print-config", "--help"};
    for (const Key& key : keys)
      if (key.flag.starts_with("-")) flags.push_back(key.flag);
    const std::string flag = word.substr(0, word.find('='));
    throw Error(str("expected a known flag, got \"", flag, "\"", suggestion(flag, flags)));
  }
}

void note_given(std::span<const Key> keys, const Json& file, Arguments& arguments) {
  for (const Key& key : keys) {
    const Json* place = &file;
    std::string_view rest = key.name;
    while (place != nullptr && !rest.empty()) {
      const std::string word(rest.substr(0, rest.find('.')));
      const auto found = place->is_object() ? place->find(word) : place->end();
      place = place->is_object() && found != place->end() ? &*found : nullptr;
      rest.remove_prefix(std::min(rest.size(), word.size() + 1));
    }
    if (place != nullptr) arguments.given.insert(key.name);
  }
}

std::vector<Command> all_commands() {
  return {phantom_command(),  check_data_command(), train_command(),   distill_command(),
          evaluate_command(), compare_command(),    report_command(),  verify_command(),
          matrix_command(),   predict_command(),    summary_command(), convert_command(),
          export_command(),   gradcheck_command(),  bench_command()};
}

// An answer that nobody could read is none: `decant evaluate RUN > /dev/full` must not end in 0.
void check_shown() {
  std::cout.flush();
  check(std::cout.good(), "expected to write to the standard output, it takes no more");
}

// What a user reads of an exception: those of the system say what failed in it, not to whom.
std::string words_of(const std::exception& error) {
  if (const auto* files = dynamic_cast<const std::filesystem::filesystem_error*>(&error))
    return str(files->path1().string(), ": expected a place that can be used, got ",
               files->code().message());
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr)
    return "expected more memory than the system has left; a smaller size or batch takes less";
  return error.what();
}

void print_help(const std::vector<Command>& commands) {
  std::cout << "decant " << DECANT_VERSION
            << ": distils large segmentation networks into tiny ones. " << kPurpose
            << "\n\nUsage: decant COMMAND ...\n\n";
  for (const Command& command : commands)
    std::cout << "  " << command.name << std::string(12 - command.name.size(), ' ')
              << command.summary << "\n";
  std::cout << "\ndecant COMMAND --help tells more, with examples; decant --version.\n";
}

}  // namespace

const char* program_version() {
  return DECANT_VERSION;
}

const std::string& program_build() {
  static const std::string build =
      str(program_version(), " build ", hexadecimal(fnv1a64(read_bytes("/proc/self/exe"))));
  return build;
}

void take_threads(int threads) {
  // Tests and curious users run more threads than there are processors, but not hundreds.
  const int processors = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int most = std::max(16, 4 * processors);
  check(threads >= 0, "threads: expected 0 or more, got ", threads);
  check(threads <= most, "threads: expected at most ", most, " for the ", processors,
        " processors of this machine, got ", threads);
  if (threads > 0) set_num_threads(threads);
}

void require_writable(const std::string& file) {
  if (file.empty()) return;
  namespace fs = std::filesystem;
  std::error_code unknown;
  const fs::file_status status = fs::status(file, unknown);
  check(!fs::is_directory(status), file, ": expected a file to write, got a folder");
  const bool special = fs::exists(status) && !fs::is_regular_file(status);  // /dev/stdout, a pipe
  fs::path folder = fs::path(file).parent_path();
  if (folder.empty()) folder = ".";
  check(fs::is_directory(folder, unknown), file, ": expected its folder to be there, got none");
  const int denied = ::access(special ? file.c_str() : folder.c_str(), W_OK) == 0 ? 0 : errno;
  check(denied == 0, file, ": expected a place that may be written, got ", std::strerror(denied));
}

void print_config(std::span<const Key> keys) {
  std::cout << to_json(keys).dump(2) << "\n";
}

bool parse(const Command& command, std::span<const Key> keys, std::vector<std::string> words,
           Arguments& arguments) {
  const std::vector<std::string> settings = take_settings(keys, words);
  CLI::App app(command.summary + "\n" + std::string(kPurpose), "decant " + command.name);
  app.allow_extras();
  app.get_formatter()->column_width(32);
  std::map<std::string, std::vector<std::string>> values;
  std::map<std::string, bool> switches;
  std::map<std::string, CLI::Option*> options;
  for (const Key& key : keys) {
    if (key.flag.empty()) continue;
    if (key.expected == "true or false") {
      options[key.name] = app.add_flag(key.flag, switches[key.name], key.help);
      continue;
    }
    CLI::Option* option = app.add_option(key.flag, values[key.name], key.help);
    option->type_name("")->expected(1, key.many ? -1 : 1)->allow_extra_args(key.many);
    if (!key.many) option->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
    const std::string value = shown_default(key);
    if (!value.empty()) option->default_str(value);
    if (is_hidden(key, command)) option->group("");  // CLI11's word for it
    options[key.name] = option;
  }
  std::string file;
  app.add_option("--config", file, "settings from a file of JSON")
      ->type_name("FILE")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.add_flag("--print-config", arguments.print_config, "print all settings and stop")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeLast);
  app.footer(config_keys_help(keys, command) + "Examples:\n" + command.examples);

  try {
    app.parse(std::vector<std::string>(words.rbegin(), words.rend()));  // CLI11 reads from the end
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return false;
  } catch (const CLI::ArgumentMismatch& error) {  // "--size: 1 required ..."
    const std::string what = error.what();
    throw Error(what.substr(0, what.find(':')) + ": expected a value, got none");
  } catch (const CLI::ParseError& error) {
    throw Error(error.what());
  }

  if (!file.empty()) {
    const Json json = read_json_file(file);
    read_json(keys, json, file);
    note_given(keys, json, arguments);
  }
  for (const Key& key : keys) {
    const auto option = options.find(key.name);
    if (option == options.end() || option->second->count() == 0) continue;
    arguments.typed.insert(key.name);
    if (key.expected == "true or false") {
      set_from_text(key, "true", key.flag);
    } else if (key.many) {
      check(key.set(Json(values[key.name])), key.flag, ": expected ", key.expected);
    } else {
      check(values[key.name].size() == 1, key.flag, ": expected one value, got ",
            values[key.name].size());
      set_from_text(key, values[key.name].front(), key.flag);
    }
  }
  place_extras(keys, settings, arguments);
  place_extras(keys, app.remaining(), arguments);
  arguments.given.insert(arguments.typed.begin(), arguments.typed.end());
  return true;
}

int run_program(const std::vector<std::string>& words) {
  const std::vector<Command> commands = all_commands();
  std::string name = "decant";
  try {
    if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
      print_help(commands);
      check_shown();
      return words.empty() ? static_cast<int>(Exit::bad_input) : 0;
    }
    if (words[0] == "--version") {
      std::cout << "decant " << DECANT_VERSION << "\n";
      check_shown();
      return 0;
    }
    std::vector<std::string> names;
    for (const Command& command : commands) {
      names.push_back(command.name);
      if (command.name != words[0]) continue;
      name += " " + command.name;
      const Exit exit = command.run({words.begin() + 1, words.end()});
      check_shown();
      return static_cast<int>(exit);
    }
    throw Error(str("expected a command, got \"", words[0], "\"", suggestion(words[0], names)));
  } catch (const std::exception& error) {
    std::string message = words_of(error);
    std::ranges::replace(message, '\n', ' ');
    std::cout.flush();
    std::cerr << name << ": " << message << "\n";
    return static_cast<int>(Exit::bad_input);
  }
}

}  // namespace decant::apps
