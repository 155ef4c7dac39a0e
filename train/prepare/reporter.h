// What a long job needs of whoever started it: to be heard, and to be stopped.
#pragma once

#include <string>

namespace weir {

class Reporter {
 public:
  virtual ~Reporter() = default;
  virtual void message(const std::string& text) = 0;   // a line that stays
  virtual void progress(const std::string& text) = 0;  // a line that the next one replaces
  virtual bool stop_requested() const = 0;             // asked several times a second, from any thread

  // While true, a request to stop may end the process on the spot: nothing would have to be tidied up.
  virtual void may_exit(bool may) = 0;

  // Throws RunError(stopped) once a stop was requested.
  void check_stop() const;
};

}  // namespace weir
