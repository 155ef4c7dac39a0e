// Checkpoints: a directory per saved step, complete or absent, whatever happens while it is written.
//
//   checkpoints/step_00001234/  model.safetensors      parameters and buffers
//                               optimizer.safetensors  what the optimiser keeps, named like the parameters
//                               memory.safetensors     what attention carries, per group of streams and layer
//                               state.json             configuration, step, data position, best result
//                               MANIFEST.json          size and XXH3-128 of each file above, written last
//
// Everything is written and synced in step_00001234.tmp-PID, which is then renamed; old checkpoints go afterwards,
// renamed first. What is loaded is checked against the manifest.
//
// Nothing is removed but a folder, no symbolic link to one, with our manifest and no other files than it names (until
// the others are written, it names them without size and checksum). All else may be somebody's, whatever its name, and
// stays.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "core/error.h"
#include "models/language_model.h"
#include "train/config.h"
#include "train/optimizer/optimizer.h"
#include "train/spike_detector.h"
#include "train/tokenizer/tokenizer.h"

namespace weir {

// Everything but the tensors that a run needs to go on as if it had never stopped. The random numbers are a function
// of the seed (in the configuration) and `step`.
struct TrainingState {
  std::int64_t step = 0;    // updates made, or skipped because loss or gradient norm were beyond their limits
  std::int64_t tokens = 0;  // trained on
  std::int64_t epoch = 0;
  std::int64_t block = 0;                  // next block of each stream
  double seconds = 0;                      // spent training, over all sessions
  std::int64_t data_tokens = 0;            // of the training corpus,
  std::string data_checksum;               // and Corpus::checksum() of it
  std::string tokenizer = kByteTokenizer;  // or the name of the tokenizer's file in the run folder
  std::int64_t bad_in_a_row = 0;           // steps that were skipped, or found to have harmed the weights
  SpikeDetector::Window accepted;          // what those limits follow from
  std::int64_t rollbacks = 0;              // times that the run diverged and went back to a checkpoint
  // Of these weights, as judge_weights() (train/soundness.h) measured it: what later ones are compared with. None in a
  // checkpoint from before that was asked.
  std::optional<double> held_back_nats{};
  double best_nats = 0;          // lowest validation loss, at best_step
  std::int64_t best_step = -1;   // -1: not evaluated yet
  bool pending = false;          // stopped before the evaluation and the sample due at this step were done
  std::vector<Memory> memories;  // one per group of streams (gradient accumulation)
};

struct CheckpointInfo {
  std::string path;
  std::int64_t step = 0;
};

// A checkpoint that is not as it was written. The message ends with advice, `reason` does not.
class DamagedCheckpoint : public RunError {
 public:
  DamagedCheckpoint(const std::string& file, const std::string& why);
  const std::string& reason() const { return reason_; }

 private:
  std::string reason_;
};

// The checkpoints below `folder`, newest first (by name alone: not yet checked). None where there is no such folder;
// throws where it cannot be read.
std::vector<CheckpointInfo> list_checkpoints(const std::string& folder);

// Compares sizes and hashes with the manifest. Throws DamagedCheckpoint naming the file that differs.
void verify_checkpoint(const std::string& path);

// The names of all files in a checkpoint.
std::vector<std::string> checkpoint_files();

// Saves into `folder` and returns the path. An existing checkpoint of that step is replaced, where
// the file system can exchange names without a moment that has neither.
std::string save_checkpoint(const std::string& folder, const Config& config, const ParameterSet& parameters,
                            const Optimizer& optimizer, const TrainingState& state);

// Fills parameters, buffers, the optimiser and state; the checkpoint is verified first. Numbers that are not finite are
// refused by name (RunError(bad_data)), and so is what another kind of optimiser kept (ArgumentError).
void load_checkpoint(const std::string& path, const ParameterSet& parameters, Optimizer& optimizer,
                     TrainingState& state);

// Fills parameters and buffers only, and refuses those that are not finite. For evaluation and generation.
void load_parameters(const std::string& path, const ParameterSet& parameters);
// The configuration, with overrides as load_config() takes them, and the tokenizer's name (see TrainingState) that a
// checkpoint was trained with.
Config checkpoint_config(const std::string& path, std::span<const std::string> overrides = {}, Notes* notes = nullptr);
std::string checkpoint_tokenizer(const std::string& path);

// Removes all but the newest `keep_last` checkpoints and the one of step `keep_step`.
void prune_checkpoints(const std::string& folder, std::int64_t keep_last, std::int64_t keep_step);
void remove_checkpoints_after(const std::string& folder, std::int64_t step);
// Removes what a killed process left unfinished. Only for the owner of the run folder.
void remove_unfinished_checkpoints(const std::string& folder);

}  // namespace weir
