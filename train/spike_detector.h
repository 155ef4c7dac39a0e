// What loss and gradient norm a training step may have: beyond that it is no step of a run that learns, but of one that
// diverges, or meets a hardware fault or a ruinous stretch of data.
//
// After 16 accepted steps a limit is median + distance x spread of the newest 64, with the spread taken from the
// medians of the absolute deviations (MAD); never below what ordinary runs may jump to. Before that only the absurd
// counts. Steps that were not accepted change nothing here, and what is not a number is below no limit.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <vector>

namespace weir {

// The largest loss (nats per token) and gradient norm with which a step is still applied.
struct StepLimits {
  double loss, gradient_norm;

  // False for what is not finite.
  bool allow(double loss_of_step, double norm_of_step) const;
};

class SpikeDetector {
 public:
  // What the limits follow from; a checkpoint keeps it. Of accepted steps, oldest first.
  struct Window {
    std::vector<double> losses, gradient_norms;
    double lowest_loss = std::numeric_limits<double>::infinity();  // since the run began
    bool operator==(const Window&) const = default;
  };

  explicit SpikeDetector(std::int64_t vocabulary) : vocabulary_(vocabulary) {}

  StepLimits limits() const;
  // Above this a loss may be that of weights which the steps before have harmed, or of unusual text.
  double suspicious_loss() const;
  // Worse than any training would leave weights behind, however odd the text.
  double absurd_loss() const;
  // What good weights do not exceed: a nat more than guessing, or than a run that began above that has come to.
  double good_loss() const;
  // Median of the newest 8 losses.
  double recent_loss() const;
  // The loss has been above good_loss() for most of the window.
  bool is_lost() const;

  void accept(double loss, double gradient_norm);  // of a step within the limits

  const Window& window() const { return window_; }
  void set_window(const Window& window) { window_ = window; }

  static constexpr std::size_t kWindow = 64, kWarmUp = 16, kRecent = 8;

 private:
  const std::int64_t vocabulary_;
  Window window_;
};

}  // namespace weir
