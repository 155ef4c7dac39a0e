#include "core/op_info.h"

#include <algorithm>

#include "core/error.h"

namespace weir {
namespace {

std::vector<OpRecord>& registry() {
  static std::vector<OpRecord> records;
  return records;
}

}  // namespace

const std::vector<OpRecord>& op_records() { return registry(); }

OpRegistration::OpRegistration(OpRecord record) {
  auto& records = registry();
  const auto place = std::lower_bound(records.begin(), records.end(), record,
                                      [](const OpRecord& a, const OpRecord& b) { return a.name < b.name; });
  if (place != records.end() && place->name == record.name) throw InternalError("two ops are named " + record.name);
  records.insert(place, std::move(record));
}

}  // namespace weir
