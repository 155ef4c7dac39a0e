// The decoders of a tokenizer.json: the pieces of a sequence of tokens become a text again.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "train/tokenizer/json/document.h"

namespace weir {

class Decoder {
 public:
  virtual ~Decoder() = default;
  // The pieces that come out, put together, are the text.
  virtual void apply(std::vector<std::string>& pieces) const = 0;
};

std::unique_ptr<Decoder> make_decoder(const JsonPlace& place);

}  // namespace weir
