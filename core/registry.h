// What a setting may be, as a list that files add to: models, optimisers, parts of a router. Each kind of thing is a
// struct that names the setting and the function that stands for one of them,
//
//   struct Gate {
//     using Function = Tensor (*)(const Scored& scored, const Tensor& index);
//     static constexpr const char* setting = "feedforward.gate";
//   };
//
// and whoever makes one registers it at the end of its own file:
//
//   const bool added = registry<Gate>().add({"one", "1 for every expert", one});
//
// The setting takes names and help from here; nobody keeps a list.
#pragma once

#include <algorithm>
#include <any>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/error.h"
#include "core/fields.h"
#include "core/text.h"

namespace weir {

// A struct of settings whose type only its owner knows; copied and compared by value.
class OwnSettings {
 public:
  OwnSettings() = default;  // none
  template <class Struct>
  static OwnSettings of() {
    OwnSettings settings;
    settings.values_ = Struct{};
    settings.visit_ = [](std::any& values, FieldVisitor& v) { std::any_cast<Struct&>(values).visit(v); };
    settings.equal_ = [](const std::any& a, const std::any& b) {
      return std::any_cast<const Struct&>(a) == std::any_cast<const Struct&>(b);
    };
    return settings;
  }

  bool exist() const { return values_.has_value(); }
  template <class Struct>
  Struct* get() {
    return std::any_cast<Struct>(&values_);  // null where they are of another type
  }
  void visit(FieldVisitor& v) { visit_(values_, v); }
  bool operator==(const OwnSettings& other) const { return visit_ == other.visit_ && equal_(values_, other.values_); }

 private:
  std::any values_;
  void (*visit_)(std::any&, FieldVisitor&) = nullptr;
  bool (*equal_)(const std::any&, const std::any&) = nullptr;
};

template <class Kind>
class Registry {
 public:
  struct Entry {
    std::string name, help;
    typename Kind::Function function;
    OwnSettings settings{};  // that only this one has: a section called like it
    Choices reads{};         // of the settings that all share, those that this one reads; none: it does not say
  };

  // Returns true so that it can initialise a variable at namespace scope.
  bool add(Entry entry) {
    const auto place = std::lower_bound(entries_.begin(), entries_.end(), entry,
                                        [](const Entry& a, const Entry& b) { return a.name < b.name; });
    if (place != entries_.end() && place->name == entry.name)
      throw InternalError(std::string(Kind::setting) + ": " + quote(entry.name) + " is registered twice");
    entries_.insert(place, std::move(entry));
    return true;
  }

  // Throws ArgumentError with the nearest name where there is none.
  typename Kind::Function find(const std::string& name) const {
    for (const Entry& entry : entries_)
      if (entry.name == name) return entry.function;
    throw ArgumentError(std::string(Kind::setting) + ": there is no " + quote_short(name) +
                        did_you_mean(name, names()) + "; choose one of " + join(names(), ", "));
  }

  // Whether that setting has an effect beside `name`; where the entry does not say, it may.
  bool reads(const std::string& name, const std::string& setting) const {
    for (const Entry& entry : entries_)
      if (entry.name == name && !entry.reads.empty())
        return std::find(entry.reads.begin(), entry.reads.end(), setting) != entry.reads.end();
    return true;
  }

  const std::vector<Entry>& entries() const { return entries_; }  // by name
  Choices names() const {
    Choices names;
    for (const Entry& entry : entries_) names.push_back(entry.name);
    return names;
  }
  // "what the setting does: name (help), name (help)".
  std::string help(std::string about) const {
    for (const Entry& entry : entries_)
      about += (&entry == &entries_.front() ? ": " : ", ") + entry.name + " (" + entry.help + ")";
    return about;
  }

 private:
  std::vector<Entry> entries_;
};

template <class Kind>
Registry<Kind>& registry() {
  static Registry<Kind> all;
  return all;
}

// What stands for a class in a kind whose function makes an object, `std::unique_ptr<Base> (*)(...)`: its constructor.
template <class Class>
struct ByConstructor {
  template <class Base, class... Arguments>
  using Make = std::unique_ptr<Base> (*)(Arguments...);

  template <class Base, class... Arguments>
  constexpr operator Make<Base, Arguments...>() const {
    return [](Arguments... arguments) -> std::unique_ptr<Base> {
      return std::make_unique<Class>(std::forward<Arguments>(arguments)...);
    };
  }
};
template <class Class>
inline constexpr ByConstructor<Class> by_constructor;

// The settings that single entries of a registry have, for a configuration: each a section called like its entry.
template <class Kind>
class SettingsByName {
 public:
  SettingsByName() {
    for (const auto& entry : registry<Kind>().entries())
      if (entry.settings.exist()) all_.push_back({entry.name, entry.help, entry.settings});
  }

  template <class Struct>
  Struct& get() {
    for (Named& named : all_)
      if (Struct* settings = named.settings.template get<Struct>()) return *settings;
    throw InternalError(std::string(Kind::setting) + ": no entry with settings of this type was registered");
  }
  template <class Struct>
  const Struct& get() const {
    return const_cast<SettingsByName*>(this)->template get<Struct>();
  }

  // Throws ArgumentError naming the first value outside its limits, in whichever section.
  void check() const {
    for (Named named : all_) check_values(named.name, fields_of(named.settings));
  }

  // Sections; that of the entry called `chosen` is in use.
  void visit(FieldVisitor& v, const std::string& chosen) {
    for (Named& named : all_)
      v.section(named.name.c_str(), named.settings,
                (std::string(Kind::setting) + " = " + quote(named.name) + ": " + named.help + ".").c_str(),
                named.name == chosen);
  }
  bool operator==(const SettingsByName&) const = default;

 private:
  struct Named {
    std::string name, help;
    OwnSettings settings;
    bool operator==(const Named&) const = default;
  };
  std::vector<Named> all_;
};

}  // namespace weir
