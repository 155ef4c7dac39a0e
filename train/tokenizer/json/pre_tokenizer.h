// The pre-tokenizers of a tokenizer.json: they cut a text into words, which the model sees one by one.
#pragma once

#include <memory>
#include <vector>

#include "train/tokenizer/json/document.h"
#include "train/tokenizer/json/segment.h"

namespace weir {

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Segments that are tokens already stay as they are; empty ones vanish.
  virtual void apply(std::vector<Segment>& segments) const = 0;
};

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const JsonPlace& place);

// What Metaspace, as pre-tokenizer and as decoder, reads from the file.
struct MetaspaceSettings {
  enum class Prepend { first, never, always };
  std::string replacement;  // one character
  Prepend prepend = Prepend::always;
  bool split = true;
};
MetaspaceSettings metaspace_settings(const JsonPlace& place);

}  // namespace weir
