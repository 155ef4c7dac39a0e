// A stream of the emulator: work is done when it is submitted, or kept while the stream captures a graph.
#pragma once

#include <functional>
#include <stdexcept>
#include <utility>
#include <vector>

namespace weir::emulator {

struct Graph {
  std::vector<std::function<void()>> work;
};

class Queue {
 public:
  bool capturing() const { return capturing_; }

  // `work` may be called after everything it refers to by reference is gone: it holds its arguments by value.
  template <class Work>
  void submit(Work&& work) {
    if (capturing_)
      captured_.work.emplace_back(std::forward<Work>(work));
    else
      work();
  }

  void begin_capture() {
    if (capturing_) throw std::logic_error("the stream captures already");
    capturing_ = true;
  }
  Graph end_capture() {
    capturing_ = false;
    return std::exchange(captured_, {});
  }

 private:
  bool capturing_ = false;
  Graph captured_;
};

}  // namespace weir::emulator
