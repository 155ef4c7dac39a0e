// How the values of a configuration come together: a preset, a file over it, arguments over both. What a person gave
// counts for more than what a preset brought along, and messages say where each value came from.
#pragma once

#include <string>

#include "core/fields.h"
#include "train/config.h"

namespace weir {

struct ConfigSources {
  std::string base;     // what the values come from that nobody gave: "preset quickstart", "default"
  bool stored = false;  // `base` is the configuration that a run stored, whose data paths are complete
  Origins given{};      // what the file and the arguments gave
};

// Limits and warm-up as below, data paths, resolve() and validate(). Errors name the source of each value.
void complete(Config& config, const ConfigSources& sources, Notes* notes);

// Where one of train.steps, train.tokens and train.minutes is given, those of the base no longer limit the run.
void replace_limits(TrainConfig& train, const ConfigSources& sources, Notes* notes);

// A warm-up of the base that leaves nothing of the run becomes a tenth of it.
void shorten_warmup(Config& config, const ConfigSources& sources, Notes* notes);

// Says which of the settings that were given have no effect, since they are of a kind that was not chosen.
void note_unused(Config& config, const ConfigSources& sources, Notes* notes);

// Notes in data.folder where relative paths start: paths in a file at the file's folder, others at the working
// directory.
void set_data_folder(DataConfig& data, const ConfigSources& sources);

// `message` with the source of each setting that it names as `key = value`: "feedforward.k = 9 (command line)".
std::string with_sources(std::string message, Config config, const ConfigSources& sources);

}  // namespace weir
