#include "framework/cli/probe_source.h"

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <boost/algorithm/string/replace.hpp>
#include <boost/algorithm/string/split.hpp>
#include <charconv>
#include <memory>

#include "framework/base/error.h"
#include "framework/base/input_file.h"
#include "framework/io/hdf5_reader.h"
#include "framework/io/tensor_file.h"
#include "framework/quant/token_rows.h"

namespace quell {
namespace {

bool is_hdf5(const std::string& path) {
  constexpr std::string_view kStart("\x89HDF\r\n\x1a\n", 8);
  const InputFile file(path);
  return file.size() >= kStart.size() && file.read(0, kStart.size()) == kStart;
}

ProbeSource open_hdf5(const std::string& path, bool list) {
  const auto file = std::make_shared<Hdf5Reader>(path);
  ProbeSource source;
  source.read = [file](const std::string& name) { return file->read_tensor(name); };
  if (!list) return source;
  for (const std::string& name : file->leaves("/")) {
    try {
      if (!file->read_tensor(name).is_floating_point()) throw DataError("it holds no real numbers");
      source.names.push_back(name);
    } catch (const DataError& error) {
      source.skipped.emplace_back(name, error.what());
    }
  }
  return source;
}

at::Tensor channels_first(const at::Tensor& values, int64_t channel_axis) {
  if (channel_axis < 0 || channel_axis >= values.dim()) {
    throw ConfigError(fmt::format("channel axis {} does not exist in a tensor of shape [{}]",
                                  channel_axis, fmt::join(values.sizes(), ", ")));
  }
  return values.movedim(channel_axis, 0);
}

// With a sequence axis, the channels have to be all the features of a token.
void check_channels(const at::Tensor& values, int64_t channel_axis, int64_t features) {
  if (channels_first(values, channel_axis).size(0) == features) return;
  throw ConfigError(fmt::format(
      "a scale per channel of axis {} needs a tensor [batch, tokens, channels] beside a sequence "
      "axis, found shape [{}]; reshape the tensor, or leave the sequence axis out",
      channel_axis, fmt::join(values.sizes(), ", ")));
}

}  // namespace

ProbeSource open_probe_source(const std::string& path, bool list) {
  if (is_hdf5(path)) return open_hdf5(path, list);
  const std::shared_ptr<TensorFile> file = open_tensor_file(path);
  ProbeSource source;
  source.read = [file](const std::string& name) { return file->read(name); };
  if (!list) return source;
  for (const std::string& name : file->names()) {
    if (at::isFloatingType(file->type(name))) {
      source.names.push_back(name);
    } else {
      source.skipped.emplace_back(name, "it holds no real numbers");
    }
  }
  return source;
}

at::Tensor ProbeLayout::rows(const at::Tensor& values) const {
  const at::Tensor numbers = values.to(at::kFloat);
  if (sequence_axis) {
    const at::Tensor tokens = token_rows(numbers, *sequence_axis);
    if (channel_axis) check_channels(numbers, *channel_axis, tokens.size(1));
    return tokens;
  }
  if (channel_axis) return channels_first(numbers, *channel_axis).flatten(1).contiguous();
  const int64_t features = numbers.dim() > 0 ? numbers.size(-1) : 1;
  return numbers.reshape({features == 0 ? 0 : numbers.numel() / features, features});
}

at::Tensor ProbeLayout::real_rows(const std::string& name, const at::Tensor& values,
                                  const ProbeSource& source) const {
  at::Tensor all = rows(values);
  if (!lengths.empty()) {
    all = token_rows(values.to(at::kFloat), *sequence_axis, read_lengths(name, source));
  }
  if (all.numel() == 0) throw DataError(fmt::format("tensor \"{}\" has no values", name));
  return all;
}

at::Tensor ProbeLayout::restore(const at::Tensor& rows, const at::Tensor& like) const {
  if (sequence_axis) return from_token_rows(rows, like, *sequence_axis);
  if (!channel_axis) return rows.view(like.sizes());
  const at::Tensor first = rows.view(channels_first(like, *channel_axis).sizes());
  return first.movedim(0, *channel_axis).contiguous();
}

std::vector<int64_t> ProbeLayout::read_lengths(const std::string& name,
                                               const ProbeSource& source) const {
  if (lengths.find("{}") != std::string::npos) {
    const at::Tensor found = source.read(boost::algorithm::replace_all_copy(lengths, "{}", name))
                                 .to(at::kLong)
                                 .contiguous();
    return {found.const_data_ptr<int64_t>(), found.const_data_ptr<int64_t>() + found.numel()};
  }
  std::vector<std::string> parts;
  boost::algorithm::split(parts, lengths, [](char c) { return c == ','; });
  std::vector<int64_t> numbers;
  for (const std::string& part : parts) {
    int64_t number = 0;
    const auto result = std::from_chars(part.data(), part.data() + part.size(), number);
    if (result.ec != std::errc() || result.ptr != part.data() + part.size()) {
      throw ConfigError(fmt::format(
          "--lengths: expected numbers such as 5,7 or a name such as \"{{}}.lens\", found \"{}\"",
          lengths));
    }
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace quell
