// The normalizers of a tokenizer.json: text to text, before it is cut.
#pragma once

#include <memory>

#include "train/tokenizer/json/document.h"
#include "train/tokenizer/json/segment.h"

namespace weir {

class Normalizer {
 public:
  virtual ~Normalizer() = default;
  virtual void apply(Segment& segment) const = 0;
};

std::unique_ptr<Normalizer> make_normalizer(const JsonPlace& place);

}  // namespace weir
