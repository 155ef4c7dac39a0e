#include "train/prepare/reporter.h"

#include "core/error.h"

namespace weir {

void Reporter::check_stop() const {
  if (stop_requested())
    throw RunError(ExitCode::stopped, "stopped; nothing was written but what was downloaded, so run it again to go on");
}

}  // namespace weir
