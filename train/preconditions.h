// What must hold before a run begins or goes on, checked before anything is written.
#pragma once

#include <string>
#include <string_view>

#include "core/error.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data.h"

namespace weir {

// A model that does not fit into the memory of a device, whatever the batch. The message says what helps: less than
// where other requests are refused.
class ModelTooLarge : public RunError {
 public:
  explicit ModelTooLarge(const std::string& message) : RunError(ExitCode::out_of_memory, message) {}
};

// Refuses what cannot be trained: heads larger than the device takes, data with another vocabulary than the model's
// (ArgumentError), data that is missing, damaged or too short, or has lost its tokenizer (RunError(io or bad_data)), a
// model and batch beyond the memory of the device (RunError(out_of_memory), ModelTooLarge). `begun_run` is the folder
// of a run that goes on, whose vocabulary is settled.
void check_before_training(const Config& config, Device device = {}, const std::string& begun_run = "");

// The heads of attention are no larger than the device takes. Throws ArgumentError with both sizes and `advice`.
void check_head_size(const ModelConfig& model, Device device, std::string_view advice);

// The model knows as many tokens as the data has. Throws ArgumentError naming both.
void check_vocabulary(const ModelConfig& model, const Corpus& corpus);

// A run counts its place in the text and its memory in the batch and the segment, and its weights have the shapes of
// its model, so these cannot change between sessions. Throws ArgumentError naming the setting and both values.
void check_settings_unchanged(const Config& saved, const Config& now, const std::string& run);

// The restored state belongs to this data, model and batch. Throws RunError(bad_data) where it does not.
// `data_checksum` is that of the training corpus.
void check_state_fits(const TrainingState& state, const Config& config, const std::string& checkpoint,
                      const Corpus& corpus, const std::string& data_checksum);

}  // namespace weir
