#include "framework/io/arrow/parquet_module.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <parquet/arrow/reader.h>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

namespace quell {
namespace {

using nlohmann::json;
// Of the columns that are classes.
using ClassNames = std::map<std::string, std::vector<std::string>>;

// A file that Arrow refuses.
class Damaged : public std::runtime_error {
  using std::runtime_error::runtime_error;
};

void check(const arrow::Status& status) {
  if (!status.ok()) throw Damaged(status.message());
}

template <class T>
T checked(arrow::Result<T> result) {
  check(result.status());
  return std::move(result).ValueUnsafe();
}

template <class A>
const A& as(const arrow::Array& array) {
  return static_cast<const A&>(array);
}

// The double with the fewest digits that is this float: 3.8, as text files have it.
double shortest(float number) {
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, number).ptr;
  double result = 0;
  std::from_chars(digits, end, result);
  return result;
}

json value(const arrow::Array& array, int64_t row);

template <class A>
json list_value(const arrow::Array& array, int64_t row) {
  const auto slice = as<A>(array).value_slice(row);
  json result = json::array();
  for (int64_t i = 0; i < slice->length(); ++i) result.push_back(value(*slice, i));
  return result;
}

json struct_value(const arrow::StructArray& array, int64_t row) {
  json result = json::object();
  for (int i = 0; i < array.num_fields(); ++i) {
    result[array.struct_type()->field(i)->name()] = value(*array.field(i), row);
  }
  return result;
}

json value(const arrow::Array& array, int64_t row) {
  using Id = arrow::Type;
  if (array.IsNull(row)) return nullptr;
  switch (array.type_id()) {
    case Id::NA:
      return nullptr;
    case Id::BOOL:
      return as<arrow::BooleanArray>(array).Value(row);
    case Id::INT8:
      return as<arrow::Int8Array>(array).Value(row);
    case Id::INT16:
      return as<arrow::Int16Array>(array).Value(row);
    case Id::INT32:
      return as<arrow::Int32Array>(array).Value(row);
    case Id::INT64:
      return as<arrow::Int64Array>(array).Value(row);
    case Id::UINT8:
      return as<arrow::UInt8Array>(array).Value(row);
    case Id::UINT16:
      return as<arrow::UInt16Array>(array).Value(row);
    case Id::UINT32:
      return as<arrow::UInt32Array>(array).Value(row);
    case Id::UINT64:
      return as<arrow::UInt64Array>(array).Value(row);
    case Id::FLOAT:
      return shortest(as<arrow::FloatArray>(array).Value(row));
    case Id::DOUBLE:
      return as<arrow::DoubleArray>(array).Value(row);
    case Id::STRING:
      return as<arrow::StringArray>(array).GetString(row);
    case Id::LARGE_STRING:
      return as<arrow::LargeStringArray>(array).GetString(row);
    case Id::STRING_VIEW:
      return as<arrow::StringViewArray>(array).GetString(row);
    case Id::LIST:
      return list_value<arrow::ListArray>(array, row);
    case Id::LARGE_LIST:
      return list_value<arrow::LargeListArray>(array, row);
    case Id::FIXED_SIZE_LIST:
      return list_value<arrow::FixedSizeListArray>(array, row);
    case Id::STRUCT:
      return struct_value(as<arrow::StructArray>(array), row);
    case Id::DICTIONARY: {
      const auto& words = as<arrow::DictionaryArray>(array);
      return value(*words.dictionary(), words.GetValueIndex(row));
    }
    default:
      return checked(array.GetScalar(row))->ToString();
  }
}

// Hugging Face keeps the features of a data set beside Arrow's schema.
ClassNames class_names(const arrow::Schema& schema) {
  ClassNames result;
  const auto metadata = schema.metadata();
  const int position = metadata == nullptr ? -1 : metadata->FindKey("huggingface");
  if (position < 0) return result;
  const json info = json::parse(metadata->value(position), nullptr, /*allow_exceptions=*/false);
  const json::json_pointer features("/info/features");
  if (!info.is_object() || !info.contains(features)) return result;
  for (const auto& [name, feature] : info[features].items()) {
    if (!feature.is_object() || feature.value("_type", json()) != "ClassLabel") continue;
    if (const json names = feature.value("names", json()); names.is_array()) {
      for (const json& word : names)
        result[name].push_back(word.is_string() ? word.get<std::string>() : word.dump());
    }
  }
  return result;
}

json with_name(json number, const std::vector<std::string>& names) {
  if (!number.is_number_integer()) return number;
  const auto position = number.get<int64_t>();
  return position >= 0 && position < std::ssize(names) ? json(names[position]) : number;
}

void read(const char* path, const ParquetRow& use) {
  const auto reader = checked(parquet::arrow::OpenFile(checked(arrow::io::ReadableFile::Open(path)),
                                                       arrow::default_memory_pool()));
  std::shared_ptr<arrow::Schema> schema;
  check(reader->GetSchema(&schema));
  const std::vector<std::string> columns = schema->field_names();
  const ClassNames classes = class_names(*schema);
  const auto batches = checked(reader->GetRecordBatchReader());
  for (std::shared_ptr<arrow::RecordBatch> batch;
       check(batches->ReadNext(&batch)), batch != nullptr;) {
    check(batch->ValidateFull());  // lengths and offsets are a stranger's
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      json object = json::object();
      for (int i = 0; i < batch->num_columns(); ++i) {
        json& field = object[columns[i]];
        field = value(*batch->column(i), row);
        if (const auto names = classes.find(columns[i]); names != classes.end()) {
          field = with_name(std::move(field), names->second);
        }
      }
      use(std::move(object), columns);
    }
  }
}

}  // namespace

extern "C" void quell_read_parquet(const char* path, const ParquetRow& use, std::string& problem) {
  try {
    read(path, use);
  } catch (const Damaged& error) {
    problem = error.what();
    if (problem.empty()) problem = "damaged";
  } catch (const parquet::ParquetException& error) {
    problem = error.what();
  }
}

}  // namespace quell
