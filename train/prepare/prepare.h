// From texts to a folder of prepared data: fetch, choose or train the tokenizer, encode, and put the folder in place.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "train/dataset.h"
#include "train/prepare/download.h"
#include "train/prepare/reporter.h"

namespace weir {

struct PrepareOptions {
  std::string dataset;  // a name in sources(), or "files"
  std::string out;      // empty: data/NAME
  bool replace = false;

  std::vector<std::string> from;                // files in place of downloads
  std::vector<std::string> train, valid, test;  // of "files"
  double valid_fraction = 0;                    // of "files": the last part of `train`, where `valid` is empty
  std::string encoding = "utf-8";               // of "files": "utf-8" or "bytes" (train/text/text_check.h)

  std::string tokenizer;           // "bytes", "train", or a file; empty: what the data set is published with
  std::int64_t vocabulary = 8000;  // of a tokenizer that is trained

  bool big = false;               // of documents: as much as the big models were trained on
  std::int64_t train_tokens = 0;  // instead of what the published models were trained on; 0: as much as they
  std::int64_t shards = 0;        // of documents: so many training shards at most; 0: as many as are needed

  DownloadOptions downloads;
};

struct Prepared {
  std::string folder;
  Dataset dataset;
};

// Throws ArgumentError or RunError. The folder is there whole or, after any failure, as it was.
Prepared prepare(const PrepareOptions& options, Reporter& reporter);

}  // namespace weir
