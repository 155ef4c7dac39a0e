// metrics.jsonl, and the results that a report reads in it.
#include <cmath>

#include "tests/fuzz/fuzz_target.h"
#include "train/metrics_reader.h"
#include "train/run_result.h"

using namespace weir;
using namespace weir::fuzz;

int weir::fuzz::try_input(const std::uint8_t* data, std::size_t size) {
  static MemoryFile file;
  file.set(text_of(data, size));
  accepts([] {
    const MetricsHistory history = read_metrics(file.path());
    for (const auto& [name, points] : history.series) {
      for (std::size_t i = 1; i < points.size(); ++i)
        require(points[i - 1].step < points[i].step, "the steps of a series ascend");
      history.last(name);
      history.lowest(name);
    }
    const RunResult result = run_result(history);
    require(result.last.has_value() == result.best.has_value(), "a run with a last result has a best one");
    for (const auto& one : {result.last, result.best}) {
      if (!one) continue;
      one->value();
      one->in(ResultUnit::perplexity);
      one->text_bytes();
      require(*unit_name(one->own_unit()) != 0 && *unit_symbol(one->own_unit()) != 0, "a unit has a name");
    }
  });
  // Of one input in eight, for it reads the file again, which takes as long as all of the above.
  if (size % 8 == 0)
    accepts([] { read_run_result(file.path(), [](const std::string& text) { require(!text.empty(), "a warning"); }); });
  return 0;
}
