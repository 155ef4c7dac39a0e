// Memory that is refused. The program's own malloc, posix_memalign, ... come before libc's, so they see what the
// library, the C++ runtime and oneDNN ask for; the emulated GPU's memory likewise.
#pragma once

#include <cstdint>

namespace weir {

enum class MemoryKind { host, device };
enum class Refusal { once, from_then_on };

// Refuses request number `request`, from 1, counted from now on.
void refuse_memory(MemoryKind kind, std::int64_t request, Refusal refusal);
// Ends that; whether it came to a refusal.
bool stop_refusing();

// Blocks of the host's memory that are not freed yet.
std::int64_t live_blocks();

}  // namespace weir
