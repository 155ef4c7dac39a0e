// Changes to JSON that leave it JSON, so that what a parser of a JSON format does after the JSON is reached.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <random>
#include <span>
#include <string>
#include <string_view>

namespace weir::fuzz {

using Json = nlohmann::ordered_json;

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  std::size_t below(std::size_t count) { return std::uniform_int_distribution<std::size_t>(0, count - 1)(engine_); }

 private:
  std::minstd_rand engine_;
};

std::string dump(const Json& value);  // what is not UTF-8 is replaced

// Changes a value or two in `text`; false where it is no JSON. `parts` are pieces of the format, to be put in anywhere;
// each is JSON.
bool mutate_json(std::string& text, Random& random, std::span<const std::string_view> parts = {});

// As the whole of LLVMFuzzerCustomMutator, for files that are JSON from end to end. Now and then bytes are changed.
std::size_t mutate_json_file(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed,
                             std::span<const std::string_view> parts = {});

// Puts `bytes`, or as much of it as there is room for, into libFuzzer's buffer.
std::size_t put(std::string_view bytes, std::uint8_t* data, std::size_t max_size);

}  // namespace weir::fuzz
