// What goes into a data set: the texts of each split, in order, wherever they come from.
#pragma once

#include <cstdint>
#include <functional>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "train/prepare/prepare.h"
#include "train/text/text_stream.h"

namespace weir {

using NextText = std::function<std::unique_ptr<TextStream>()>;  // null after the last

struct PlannedSplit {
  std::string name;
  NextText next;
  std::int64_t limit = std::numeric_limits<std::int64_t>::max();  // tokens
  std::string where_empty = "check the files given";              // what to do where no token came
};

struct Plan {
  std::string name;
  std::string tokenizer;             // "bytes" or "train": what the data set is published with
  bool published_tokenizer = false;  // a trained one has the settings of published experiments
  bool documents = false;            // JSON lines
  bool counts_words = false;         // the corpus defines words
  std::vector<PlannedSplit> splits;  // encoded in this order
  NextText tokenizer_texts;          // what a tokenizer is trained on
  std::uint64_t text_bytes = 0;      // of all splits, about; 0 where only their limits are known
  std::string sample;                // pieces of the text, as the tokenizer gets it; none of documents
  // Called when all texts were read: what they were, for dataset.json. May find that they are not what was meant.
  std::function<std::map<std::string, std::string>()> origin;
};

// The command that prepares a data set from files; with "files" one that takes texts of any size.
std::string command_for(const std::string& dataset, const std::vector<std::string>& files);

// Checks the options; downloads what is needed to know that the rest will work.
Plan make_plan(const PrepareOptions& options, Reporter& reporter);

}  // namespace weir
