// Names of enum values, from EnumNames (framework/config/schema.h).
#pragma once

#include "framework/config/schema.h"

namespace quell {

template <class Enum>
const char* enum_name(Enum value) {
  for (const auto& [name, known] : EnumNames<Enum>::values) {
    if (known == value) return name;
  }
  return "";
}

}  // namespace quell
