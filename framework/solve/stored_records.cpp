#include "framework/solve/stored_records.h"

#include <ATen/ops/empty.h>
#include <fmt/format.h>
#include <algorithm>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "framework/base/error.h"

namespace quell {
namespace {

using nlohmann::json;

constexpr const char* kTexts = "texts";  // everything but the columns' values

std::string values_name(size_t record, size_t column) {
  return fmt::format("{}.{}", record, column);
}

json to_json(const RecordAttribute& attribute) {
  return std::visit([](const auto& value) { return json(value); }, attribute);
}

RecordAttribute attribute_from(const json& value) {
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number_integer()) return value.get<int64_t>();
  return value.get<double>();
}

json texts_of(const Record& record) {
  json texts = {{"group", record.group},
                {"name", record.name},
                {"columns", json::array()},
                {"attributes", json::array()}};
  for (const RecordColumn& column : record.columns) {
    texts["columns"].push_back({column.name, column.axis, column.unit});
  }
  for (const auto& [name, value] : record.attributes) {
    texts["attributes"].push_back({name, to_json(value)});
  }
  return texts;
}

// CBOR holds every number as it is, NaN and infinity too.
json read_texts(const at::Tensor& bytes) {
  const auto* data = bytes.const_data_ptr<uint8_t>();
  return json::from_cbor(data, data + bytes.numel());
}

}  // namespace

NamedTensors pack_records(std::span<const Record> records) {
  NamedTensors packed;
  json texts = json::array();
  for (size_t i = 0; i < records.size(); ++i) {
    texts.push_back(texts_of(records[i]));
    for (size_t column = 0; column < records[i].columns.size(); ++column) {
      packed[values_name(i, column)] = records[i].columns[column].values;
    }
  }
  const std::vector<uint8_t> bytes = json::to_cbor(texts);
  at::Tensor& all = packed[kTexts] = at::empty({std::ssize(bytes)}, at::kByte);
  std::copy(bytes.begin(), bytes.end(), all.mutable_data_ptr<uint8_t>());
  return packed;
}

std::vector<Record> unpack_records(const NamedTensors& packed) {
  std::vector<Record> records;
  try {
    for (const json& texts : read_texts(stored_tensor(packed, kTexts))) {
      Record record{texts.at("group").get<std::string>(), texts.at("name").get<std::string>(), {}};
      for (const json& column : texts.at("columns")) {
        const std::string name = values_name(records.size(), record.columns.size());
        record.columns.push_back({column.at(0).get<std::string>(), stored_tensor(packed, name),
                                  column.at(1).get<std::string>(),
                                  column.at(2).get<std::string>()});
      }
      for (const json& attribute : texts.at("attributes")) {
        record.attributes.emplace_back(attribute.at(0).get<std::string>(),
                                       attribute_from(attribute.at(1)));
      }
      records.push_back(std::move(record));
    }
  } catch (const json::exception& error) {
    throw DataError(fmt::format("stored records are damaged ({})", error.what()));
  }
  return records;
}

}  // namespace quell
