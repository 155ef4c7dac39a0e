// What a run trains with, opened and checked before anything is written. Each file of its data is opened once, each
// shard read once from end to end, and what was opened here is what is trained on.
#pragma once

#include <memory>
#include <string>

#include "core/device.h"
#include "core/error.h"
#include "models/language_model.h"
#include "train/batch_source.h"
#include "train/config.h"
#include "train/data.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {

// A model that does not fit into the memory of a device, whatever the batch. The message says what helps: less than
// where other requests are refused.
class ModelTooLarge : public RunError {
 public:
  explicit ModelTooLarge(const std::string& message) : RunError(ExitCode::out_of_memory, message) {}
};

struct TrainingSetup {
  // Refuses what cannot be trained: heads larger than the device takes, data with another vocabulary than the model's
  // (ArgumentError), data that is missing, damaged or too short, or has lost its tokenizer (RunError(io or bad_data)),
  // a model and batch beyond the memory of the device (RunError(out_of_memory), ModelTooLarge). `begun_run` is the
  // folder of a run that goes on, whose vocabulary is settled.
  explicit TrainingSetup(const Config& config, Device device = {}, const std::string& begun_run = "");

  Config config;
  Device device;  // where the model will live; a run may go on elsewhere
  Corpora corpora;
  std::unique_ptr<const BatchSource> batches;  // of the training corpus
  std::unique_ptr<const Tokenizer> tokenizer;  // of the training corpus
  std::unique_ptr<LanguageModel> model;        // declared: its parameters have no values yet
};

}  // namespace weir
