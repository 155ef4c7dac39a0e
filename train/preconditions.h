// What must hold before a run begins or goes on, checked before anything is written.
#pragma once

#include <string>

#include "train/checkpoint.h"
#include "train/config.h"

namespace weir {

// Refuses what cannot be trained: another vocabulary than bytes (ArgumentError), text that is missing or too short
// (RunError(io or bad_data)), a model and batch beyond the memory of the machine (RunError(out_of_memory)).
void check_before_training(const Config& config);

// A run counts its place in the text and its memory in the batch and the segment, so these cannot change between
// sessions. Throws ArgumentError naming the setting.
void check_settings_unchanged(const Config& saved, const Config& now, const std::string& run);

// The restored state belongs to this text, model and batch. Throws RunError(bad_data) where it does not.
void check_state_fits(const TrainingState& state, const Config& config, const std::string& checkpoint,
                      std::int64_t blocks_per_stream);

}  // namespace weir
