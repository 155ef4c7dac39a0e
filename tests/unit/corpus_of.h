// A small text for tests that read one.
#pragma once

#include <fmt/format.h>

#include <fstream>
#include <string>

#include "temporary_directory.h"
#include "train/data.h"

// A file of `size` bytes, byte i being make(i).
template <class Make>
weir::Corpus corpus_of(const TemporaryDirectory& folder, std::size_t size, Make&& make) {
  static int files = 0;
  const std::string path = folder / fmt::format("text{}", files++);
  std::string text(size, ' ');
  for (std::size_t i = 0; i < size; ++i) text[i] = static_cast<char>(make(i));
  std::ofstream(path, std::ios::binary) << text;
  return weir::Corpus::text(path);
}
