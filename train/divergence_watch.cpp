#include "train/divergence_watch.h"

#include <fmt/format.h>

#include <cmath>

#include "train/diagnosis.h"
#include "train/run_messages.h"

namespace weir {
namespace {

constexpr std::int64_t kMaxBadInARow = 10;

}  // namespace

DivergenceWatch::DivergenceWatch(const Config& config, const LanguageModel& model, const Corpora& corpora,
                                 const BatchSource& batches)
    : config_(config),
      model_(model),
      held_back_(corpora.valid.size() > 0 ? corpora.valid : corpora.train),
      batches_(batches),
      detector_(config.model.vocabulary) {}

std::string DivergenceWatch::look_at(const TrainingStep::Result& result, TrainingState& state) {
  std::string bad;
  if (!result.applied) {
    bad = excess_text(result, detector_.limits());
    const bool finite = std::isfinite(result.loss) && std::isfinite(result.gradient_norm);
    if (!finite && state.bad_in_a_row == 0) bad += "; " + first_fault(state);
  } else if (result.loss > detector_.suspicious_loss()) {
    const Soundness found = judge(state);
    if (!found.good) bad = found.why;
  }
  if (bad.empty()) {
    state.bad_in_a_row = 0;
    detector_.accept(result.loss, result.gradient_norm);
  } else {
    ++state.bad_in_a_row;
  }
  return bad;
}

std::string DivergenceWatch::divergence(const TrainingStep::Result& result, const TrainingState& state,
                                        const std::string& bad) const {
  if (!result.sound) return "an update left weights or a state of the optimizer that are not finite, or absurdly large";
  if (state.bad_in_a_row >= kMaxBadInARow)
    return fmt::format("{} steps in a row were skipped or left damaged weights; the last one: {}", kMaxBadInARow, bad);
  if (detector_.is_lost())
    return fmt::format("the loss has been worse than guessing for {} steps", SpikeDetector::kWindow / 2);
  return "";
}

Batch DivergenceWatch::first_group(const BatchPlace& place) const {
  return batches_.read(place, 0, config_.train.batch_size / config_.train.accumulate);
}

Soundness DivergenceWatch::judge(const TrainingState& state) const {
  return judge_weights(model_, held_back_, config_.eval, state.held_back_nats, first_group({state.epoch, state.block}),
                       state.memories.empty() ? Memory() : state.memories[0], detector_);
}

std::string DivergenceWatch::first_fault(const TrainingState& state) const {
  const BatchPlace before = batches_.previous({state.epoch, state.block});
  const ForwardContext context{.training = true,
                               .seed = static_cast<std::uint64_t>(config_.train.seed),
                               .step = static_cast<std::uint32_t>((state.step - 1) * config_.train.accumulate)};
  return weir::first_fault(model_, first_group(before), {}, context);
}

}  // namespace weir
