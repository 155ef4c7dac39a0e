// Names a stretch of the running thread's work for a profiler. Costs a comparison where no profiler is known.
#pragma once

namespace weir {

// What a kind of device brings for its profiler; set before main.
struct ProfileHooks {
  void (*begin)(const char* name) = nullptr;
  void (*end)() = nullptr;
};
inline constinit ProfileHooks profile_hooks;

// From here to the end of the scope; ranges nest.
class ProfileRange {
 public:
  explicit ProfileRange(const char* name) {
    if (profile_hooks.begin != nullptr) profile_hooks.begin(name);
  }
  ~ProfileRange() {
    if (profile_hooks.end != nullptr) profile_hooks.end();
  }
  ProfileRange(const ProfileRange&) = delete;
  ProfileRange& operator=(const ProfileRange&) = delete;
};

}  // namespace weir
