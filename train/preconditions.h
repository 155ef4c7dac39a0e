// What must fit each other: model, data and device, and the settings of a run with those of its checkpoint.
#pragma once

#include <string>
#include <string_view>

#include "core/device.h"
#include "train/checkpoint.h"
#include "train/config.h"
#include "train/data.h"

namespace weir {

struct TrainingSetup;

// The heads of attention are no larger than the device takes. Throws ArgumentError with both sizes and `advice`.
void check_head_size(const ModelConfig& model, Device device, std::string_view advice);

// The model knows as many tokens as the data has. Throws ArgumentError naming both.
void check_vocabulary(const ModelConfig& model, const Corpus& corpus);

// A run counts its place in the text and its memory in the batch and the segment, and its weights have the shapes of
// its model, so these cannot change between sessions. Throws ArgumentError naming the setting and both values.
void check_settings_unchanged(const Config& saved, const Config& now, const std::string& run);

// The restored state belongs to this data, model and batch. Throws RunError(bad_data) where it does not.
// `data_checksum` is that of the training corpus.
void check_state_fits(const TrainingState& state, const std::string& checkpoint, const TrainingSetup& setup,
                      const std::string& data_checksum);

}  // namespace weir
