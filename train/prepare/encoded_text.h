// A text as the tokens that a tokenizer makes of it, without a prepared folder.
#pragma once

#include <string>

#include "train/data.h"
#include "train/text/text_check.h"

namespace weir {

// The tokens of the text `path`, encoded as 'weir prepare files' does it with the tokenizer in the file
// `tokenizer_file`. They lie in a temporary file. A text that gives no token is a RunError(bad_data).
Corpus encode_text(const std::string& path, const std::string& tokenizer_file, const TextOptions& options);

}  // namespace weir
