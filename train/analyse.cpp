#include "train/analyse.h"

#include "core/error.h"
#include "train/checkpoint.h"
#include "train/run_directory.h"

namespace weir {

Analysis analyse_run(const std::string& run, std::int64_t max_tokens) {
  Analysis analysis;
  analysis.checkpoint = resolve_checkpoint(run);
  const Config config = checkpoint_config(analysis.checkpoint);
  const auto model = make_language_model(config.model, config.feedforward);
  model->initialise(0);
  load_parameters(analysis.checkpoint, model->parameters());
  const Corpus corpus = open_corpora(data_of(analysis.checkpoint)).valid;
  if (corpus.size() < 2)
    throw RunError(ExitCode::bad_data,
                   analysis.checkpoint + ": the run keeps no validation data on which its experts could be looked at");
  EvalConfig eval = config.eval;
  eval.max_tokens = max_tokens;
  analysis.data = corpus.name();
  analysis.evaluation = evaluate(*model, corpus, eval, &analysis.layers);
  return analysis;
}

}  // namespace weir
