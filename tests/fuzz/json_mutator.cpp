#include "tests/fuzz/json_mutator.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "tests/fuzz/fuzz_target.h"

namespace weir::fuzz {
namespace {

void collect(Json& value, std::vector<Json*>& all) {
  all.push_back(&value);
  if (value.is_structured())
    for (Json& inner : value) collect(inner, all);
}

Json any_value(Random& random) {
  constexpr std::int64_t most = std::numeric_limits<std::int64_t>::max();
  static const std::vector<Json> values{nullptr,
                                        true,
                                        false,
                                        0,
                                        1,
                                        2,
                                        3,
                                        255,
                                        256,
                                        65536,
                                        -1,
                                        most,
                                        -most,
                                        4194303,
                                        1.5,
                                        -0.0,
                                        1e300,
                                        1e-300,
                                        std::numeric_limits<std::uint64_t>::max(),
                                        "",
                                        " ",
                                        "a",
                                        "\n",
                                        "\xc2\xad",
                                        "\xe2\x96\x81",
                                        "../x",
                                        "\\u0000",
                                        std::string(300, 'x'),
                                        Json::array(),
                                        Json::object(),
                                        Json::array({0, 1}),
                                        Json::array({"a", 0.5})};
  return values[random.below(values.size())];
}

std::string mutated(std::string text) {
  const std::size_t size = text.size();
  text.resize(size + 16);
  text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, text.size()));
  return text;
}

// Another number, text or truth value in the place of one.
Json near(const Json& value, Random& random) {
  if (value.is_boolean()) return !value.get<bool>();
  if (value.is_string()) return mutated(value.get<std::string>());
  if (value.is_number_integer() && random.below(4) != 0) {
    const auto offset = static_cast<std::int64_t>(random.below(9)) - 4;
    const auto bits = static_cast<std::uint64_t>(value.get<std::int64_t>()) + static_cast<std::uint64_t>(offset);
    const auto number = static_cast<std::int64_t>(bits);
    return number >= 0 ? Json(static_cast<std::uint64_t>(number)) : Json(number);
  }
  if (value.is_number()) return value.get<double>() * (random.below(2) == 0 ? -2.0 : 0.75);
  return any_value(random);
}

void change_list(Json& list, Random& random, const Json& other) {
  auto& items = list.get_ref<Json::array_t&>();
  const auto at = items.begin() + static_cast<std::ptrdiff_t>(random.below(items.size() + 1));
  switch (random.below(4)) {
    case 0:
      if (at != items.end()) items.erase(at);
      break;
    case 1:
      items.insert(at, other);
      break;
    case 2:
      if (at != items.end()) std::iter_swap(at, items.begin());
      break;
    default:
      for (std::size_t i = random.below(20); i-- > 0 && !items.empty();) items.push_back(Json(items[0]));
  }
}

void change_object(Json& object, Random& random, const Json& other) {
  auto& members = object.get_ref<Json::object_t&>();
  const auto at = members.begin() + static_cast<std::ptrdiff_t>(random.below(members.size() + 1));
  if (at == members.end()) {
    members[mutated("key")] = other;
  } else if (random.below(3) == 0) {
    const Json value = at->second;
    members[mutated(at->first)] = value;
  } else if (random.below(2) == 0) {
    const std::string key = at->first;
    members.erase(key);
  } else {
    at->second = other;
  }
}

void change(Json& root, Random& random, std::span<const std::string_view> parts) {
  std::vector<Json*> all;
  collect(root, all);
  Json& value = *all[random.below(all.size())];
  Json other = *all[random.below(all.size())];
  if (random.below(3) == 0) other = any_value(random);
  if (!parts.empty() && random.below(3) == 0) other = Json::parse(parts[random.below(parts.size())]);
  if (random.below(4) == 0)
    value = std::move(other);
  else if (value.is_array())
    change_list(value, random, other);
  else if (value.is_object())
    change_object(value, random, other);
  else
    value = near(value, random);
}

}  // namespace

std::string dump(const Json& value) { return value.dump(-1, ' ', false, Json::error_handler_t::replace); }

bool mutate_json(std::string& text, Random& random, std::span<const std::string_view> parts) {
  Json value = Json::parse(text, nullptr, false);
  if (value.is_discarded()) return false;
  for (std::size_t i = 0; i <= random.below(3); ++i) change(value, random, parts);
  text = dump(value);
  return true;
}

std::size_t put(std::string_view bytes, std::uint8_t* data, std::size_t max_size) {
  const std::size_t size = std::min(bytes.size(), max_size);
  std::memcpy(data, bytes.data(), size);
  return size;
}

std::size_t mutate_json_file(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed,
                             std::span<const std::string_view> parts) {
  Random random(seed);
  std::string text(text_of(data, size));
  if (random.below(8) == 0 || !mutate_json(text, random, parts) || text.size() > max_size)
    return LLVMFuzzerMutate(data, size, max_size);
  return put(text, data, max_size);
}

}  // namespace weir::fuzz
