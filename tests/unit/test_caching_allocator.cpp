// The allocator behind every device: reuse, limits, and the pools of recorded work.
#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "core/caching_allocator.h"
#include "core/error.h"
#include "tests/unit/tensor_checks.h"

using namespace weir;

namespace {

CachingAllocator allocator_of(std::size_t limit) {
  return CachingAllocator({.allocate = [](std::size_t bytes) { return std::aligned_alloc(64, bytes); },
                           .release = [](void* block, std::size_t) { std::free(block); },
                           .limit_bytes = limit,
                           .device = "test",
                           .exact = false});
}

constexpr std::size_t kBytes = 1024;

}  // namespace

TEST_CASE("caching allocator: a released block serves the next request of its size") {
  CachingAllocator memory = allocator_of(1 << 20);
  void* const block = memory.allocate(kBytes);
  memory.release(block, kBytes);
  CHECK(memory.allocate(kBytes - 10) == block);
  CHECK(memory.statistics().system_allocations == 1);
  memory.release(block, kBytes - 10);
  memory.trim();
  CHECK(memory.statistics().reserved_bytes == 0);
}

TEST_CASE("caching allocator: kept blocks are given back before a request is refused") {
  CachingAllocator memory = allocator_of(4 * kBytes);
  void* const small = memory.allocate(kBytes);
  memory.release(small, kBytes);
  void* const large = memory.allocate(4 * kBytes);
  CHECK_THROWS_WITH_AS(memory.allocate(kBytes), doctest::Contains("out of memory on test"), RunError);
  memory.release(large, 4 * kBytes);
  memory.trim();
}

TEST_CASE("caching allocator: a refusal names the ten largest blocks in use") {
  constexpr std::size_t kMebi = 1 << 20;
  CachingAllocator memory = allocator_of(128 * kMebi);
  std::vector<std::pair<void*, std::size_t>> blocks;
  const auto take = [&](std::size_t bytes, int count) {
    for (int i = 0; i < count; ++i) blocks.emplace_back(memory.allocate(bytes), bytes);
  };
  take(2 * kMebi, 9), take(32 * kMebi, 1), take(8 * kMebi, 3), take(16 * kMebi, 1);
  memory.release(blocks.back().first, blocks.back().second);
  blocks.pop_back();
  const std::string message = error_message([&] { memory.allocate(100 * kMebi); });
  CHECK(message ==
        "out of memory on test: 100.0 MiB asked for, 74.0 MiB in use, limit 128.0 MiB; largest tensors: 1 x 32.0 MiB, "
        "3 x 8.0 MiB, 6 x 2.0 MiB");
  for (const auto& [block, bytes] : blocks) memory.release(block, bytes);
  memory.trim();
}

TEST_CASE("caching allocator: a device shared with other programs") {
  constexpr std::size_t kMebi = 1 << 20, kTotal = 64 * kMebi;
  std::size_t others = 60 * kMebi, own = 0;
  bool tells = true;
  CachingAllocator memory({.allocate = [&](std::size_t bytes) -> void* {
                             if (own + others + bytes > kTotal) return nullptr;
                             own += bytes;
                             return std::aligned_alloc(64, bytes);
                           },
                           .release =
                               [&](void* block, std::size_t bytes) {
                                 own -= bytes;
                                 std::free(block);
                               },
                           .limit_bytes = kTotal,
                           .device = "test",
                           .now = [&]() -> std::optional<DeviceMemory> {
                             if (!tells) return std::nullopt;
                             return DeviceMemory{kTotal - others - own, kTotal};
                           }});
  CHECK(memory.limit_bytes() == 4 * kMebi);
  void* const block = memory.allocate(kMebi);
  CHECK(memory.limit_bytes() == 4 * kMebi);  // what is handed out counts
  CHECK(memory.bytes_of_others() == others);
  const auto refusal = [&] { return error_message([&] { memory.allocate(4 * kMebi); }); };
  CHECK(refusal() ==
        "out of memory on test: 4.0 MiB asked for and refused by the system, 1.0 MiB in use, limit 64.0 MiB, 3.0 MiB "
        "free on the device; other programs hold 60.0 MiB (nvidia-smi names them); largest tensors: 1 x 1.0 MiB");
  tells = false;
  CHECK(memory.limit_bytes() == kTotal);
  CHECK(memory.bytes_of_others() == 0);
  CHECK(refusal().find("limit 64.0 MiB; largest") != std::string::npos);
  tells = true, others = 7 * kMebi;
  CHECK(memory.bytes_of_others() == 0);  // little: the driver takes as much
  CHECK(memory.limit_bytes() == kTotal - others);
  memory.release(block, kMebi);
  memory.trim();
}

TEST_CASE("caching allocator: a pool reuses its blocks and keeps them from everybody else") {
  CachingAllocator memory = allocator_of(1 << 20);
  void* const kept_before = memory.allocate(kBytes);
  memory.release(kept_before, kBytes);

  memory.begin_pool();
  void* const first = memory.allocate(kBytes);
  CHECK(first == kept_before);  // ordinary blocks that lie idle may join
  memory.release(first, kBytes);
  CHECK(memory.allocate(kBytes) == first);
  void* const outlives = memory.allocate(kBytes);
  memory.release(first, kBytes);
  const auto pool = memory.end_pool();

  void* const outside = memory.allocate(kBytes);
  CHECK(outside != first);
  memory.release(outlives, kBytes);  // handed out by the pool, released after it was closed
  void* const outside_too = memory.allocate(kBytes);
  CHECK(outside_too != outlives);
  CHECK(outside_too != first);

  memory.trim();  // must not give back what the pool holds
  CHECK(memory.statistics().reserved_bytes == 4 * kBytes);
  memory.free_pool(pool);
  memory.release(outside, kBytes);
  memory.release(outside_too, kBytes);
  memory.trim();
  CHECK(memory.statistics().reserved_bytes == 0);
  CHECK(memory.statistics().in_use_bytes == 0);
}

TEST_CASE("caching allocator: a block from before that is released while a pool is open stays with the pool") {
  CachingAllocator memory = allocator_of(1 << 20);
  void* const before = memory.allocate(kBytes);
  memory.begin_pool();
  memory.release(before, kBytes);
  const auto pool = memory.end_pool();
  void* const outside = memory.allocate(kBytes);
  CHECK(outside != before);
  memory.release(outside, kBytes);
  memory.free_pool(pool);
  memory.trim();
  CHECK(memory.statistics().reserved_bytes == 0);
}

TEST_CASE("caching allocator: a block still handed out when its pool is freed becomes an ordinary one") {
  CachingAllocator memory = allocator_of(1 << 20);
  memory.begin_pool();
  void* const block = memory.allocate(kBytes);
  memory.free_pool(memory.end_pool());
  memory.release(block, kBytes);
  CHECK(memory.allocate(kBytes) == block);
  memory.release(block, kBytes);
  memory.trim();
}

TEST_CASE("caching allocator: pools do not share their blocks") {
  CachingAllocator memory = allocator_of(1 << 20);
  memory.begin_pool();
  void* const first = memory.allocate(kBytes);
  memory.release(first, kBytes);
  const auto one = memory.end_pool();
  memory.begin_pool();
  void* const second = memory.allocate(kBytes);
  CHECK(second != first);
  memory.release(second, kBytes);
  const auto two = memory.end_pool();
  memory.free_pool(one);
  memory.free_pool(two);
  memory.trim();
  CHECK(memory.statistics().reserved_bytes == 0);
}

TEST_CASE("caching allocator: exact memory has the size asked for and goes back at once, but while a pool holds it") {
  std::vector<std::size_t> asked, returned;
  CachingAllocator memory({.allocate =
                               [&](std::size_t bytes) {
                                 asked.push_back(bytes);
                                 return std::malloc(bytes);
                               },
                           .release =
                               [&](void* block, std::size_t bytes) {
                                 returned.push_back(bytes);
                                 std::free(block);
                               },
                           .limit_bytes = 1 << 20,
                           .device = "test",
                           .exact = true});
  void* const before = memory.allocate(1001);
  memory.release(memory.allocate(7), 7);
  memory.release(memory.allocate(7), 7);
  CHECK(asked == std::vector<std::size_t>{1001, 7, 7});
  CHECK(returned == std::vector<std::size_t>{7, 7});

  memory.begin_pool();
  memory.release(before, 1001);
  void* const inside = memory.allocate(300);
  memory.release(inside, 300);
  CHECK(memory.allocate(300) == inside);
  const auto pool = memory.end_pool();
  memory.release(memory.allocate(9), 9);
  CHECK(returned == std::vector<std::size_t>{7, 7, 9});
  memory.free_pool(pool);
  CHECK(memory.statistics().reserved_bytes == 300);
  memory.release(inside, 300);  // handed out by the pool, and an ordinary block by now
  CHECK(memory.statistics().reserved_bytes == 0);
  CHECK(asked == std::vector<std::size_t>{1001, 7, 7, 300, 9});
  CHECK(returned.size() == asked.size());
}
