// Groups of parameters: which have no weight decay, and what their learning rate is multiplied by.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "models/parameter.h"

namespace weir {

// Whether a pattern matches a whole name; each * in it stands for any characters, or none.
bool matches_pattern(const std::string& pattern, const std::string& name);
// "a*, b" -> {"a*", "b"}, the value of `setting`. Throws ArgumentError where one is empty.
std::vector<std::string> parse_patterns(const std::string& setting, const std::string& text);

class ParameterGroups {
 public:
  ParameterGroups() = default;  // one group
  // optimizer.no_decay: "*norm*, *.bias"; optimizer.rates: "*.router=0.1, embedding=0.5". Throws ArgumentError for what
  // is no list of these, or a factor below 0.
  ParameterGroups(const std::string& no_decay, const std::string& rates);

  // Throws ArgumentError for a pattern that matches none of the parameters, which need not be allocated.
  void check(const ParameterSet& parameters) const;

  bool decays(const std::string& name) const;
  double rate(const std::string& name) const;  // by the last pattern that matches; 1 where none does

 private:
  std::vector<std::string> no_decay_;
  std::vector<std::pair<std::string, double>> rates_;
};

// Neighbours in the arenas that are updated in the same way: elements begin to end.
struct ParameterRange {
  std::int64_t begin = 0, end = 0;
  bool decays = true;
  double rate = 1;
  const Parameter* alone = nullptr;  // this parameter, where it is updated by itself
};

// The arenas from end to end; without groups one range. `is_alone` may be empty: none is.
std::vector<ParameterRange> ranges_of(const ParameterSet& parameters, const ParameterGroups& groups,
                                      const std::function<bool(const Parameter&)>& is_alone = {});

}  // namespace weir
