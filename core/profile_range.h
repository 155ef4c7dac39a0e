// Names a stretch of the running thread's work for a profiler. Costs a comparison where no profiler is known.
#pragma once

namespace weir {

// What a kind of device brings for its profiler, set before main; or what measures a stretch of work, set around it
// while no range is open. Called by every thread that has ranges.
struct ProfileHooks {
  void (*begin)(const char* name, double flops) = nullptr;
  void (*end)() = nullptr;
};
inline constinit ProfileHooks profile_hooks;

// From here to the end of the scope; ranges nest. `flops` is the arithmetic inside, where it is known beforehand.
class ProfileRange {
 public:
  explicit ProfileRange(const char* name, double flops = 0) {
    if (profile_hooks.begin != nullptr) profile_hooks.begin(name, flops);
  }
  ~ProfileRange() {
    if (profile_hooks.end != nullptr) profile_hooks.end();
  }
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;
};

}  // namespace weir
