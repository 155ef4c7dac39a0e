// Whether calls on this thread are recorded, so that gradients can be had: autograd's switch. Core asks for it so that
// nothing drops a gradient unseen.
#pragma once

namespace weir {

bool gradients_enabled();

// Turns recording off (or on) until the end of the scope.
class GradientMode {
 public:
  explicit GradientMode(bool enabled);
  ~GradientMode();
  GradientMode(const GradientMode&) = delete;
  GradientMode& operator=(const GradientMode&) = delete;

 private:
  bool before_;
};
struct NoGradient : GradientMode {
  NoGradient() : GradientMode(false) {}
};

}  // namespace weir
