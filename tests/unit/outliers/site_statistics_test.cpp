// Statistics of one site against brute force in double precision.
#include "framework/outliers/site_statistics.h"

#include <ATen/ops/tensor.h>
#include <gtest/gtest.h>
#include <cmath>
#include <random>

namespace quell {
namespace {

// Two batches with sequences of 3 and 2, and of 4 tokens; the ids are all different.
std::vector<Batch> two_batches() {
  const std::vector<TokenSequence> first = {{{5, 6, 7}, {0, 0, 0}}, {{8, 9}, {0, 0}}};
  const std::vector<TokenSequence> second = {{{10, 11, 12, 5}, {0, 0, 0, 0}}};
  return {pack(first), pack(second)};
}

at::Tensor normal_rows(int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.5f, 2.0f);
  std::vector<float> values(rows * columns);
  for (float& value : values) value = normal(random);
  return at::tensor(values).view({rows, columns});
}

Site site_called(const std::string& name, const std::string& role) {
  Site site;
  site.name = name;
  site.role = role;
  site.layer = 0;
  return site;
}

SiteSummary both_passes(const Site& site, const OutlierOptions& options,
                        const CalibrationTokens& tokens, const std::vector<Batch>& batches,
                        const std::vector<at::Tensor>& rows, bool raw = false) {
  SiteStatistics statistics(site, options, tokens, raw);
  for (size_t i = 0; i < batches.size(); ++i) statistics.measure(batches[i], rows[i]);
  statistics.end_measuring();
  for (size_t i = 0; i < batches.size(); ++i) statistics.count(batches[i], rows[i]);
  return statistics.end_counting();
}

std::vector<float> values_of(const at::Tensor& tensor) {
  const float* data = tensor.const_data_ptr<float>();
  return {data, data + tensor.numel()};
}

class SiteStatisticsTest : public testing::Test {
 protected:
  SiteStatisticsTest() { options_.all_tokens = true; }

  std::vector<Batch> batches_ = two_batches();
  CalibrationTokens tokens_ = calibration_tokens(batches_, nullptr);
  OutlierOptions options_;
};

TEST_F(SiteStatisticsTest, OutliersAreCountedExactly) {
  std::vector<at::Tensor> rows = {normal_rows(5, 40, 1), normal_rows(4, 40, 2)};
  rows[0].mutable_data_ptr<float>()[1 * 40 + 7] = 60;   // token 1, channel 7
  rows[1].mutable_data_ptr<float>()[3 * 40 + 9] = -90;  // token 8, channel 9
  const SiteSummary found =
      both_passes(site_called("encoder.0.ffn.norm", "norm"), options_, tokens_, batches_, rows);
  std::vector<float> all = values_of(rows[0]);
  const std::vector<float> rest = values_of(rows[1]);
  all.insert(all.end(), rest.begin(), rest.end());
  double mean = 0, square = 0;
  for (const float value : all) mean += value / static_cast<double>(all.size());
  for (const float value : all) square += (value - mean) * (value - mean);
  const double deviation = std::sqrt(square / static_cast<double>(all.size()));
  EXPECT_NEAR(found.all.mean, mean, 1e-6);
  EXPECT_NEAR(found.deviation(), deviation, 1e-5);
  for (size_t s = 0; s < options_.sigmas.size(); ++s) {
    int64_t expected = 0;
    for (const float value : all)
      expected += std::abs(value - mean) > options_.sigmas[s] * deviation;
    EXPECT_EQ(found.beyond[s], expected) << options_.sigmas[s];
  }
  EXPECT_EQ(found.beyond[1], 2);
  EXPECT_EQ(found.channel_beyond[40 + 7], 1);
  EXPECT_EQ(found.row_beyond[8 * 4 + 1], 1);
  ASSERT_EQ(found.extremes.size(), 9u);
  EXPECT_EQ(found.extremes[0].row, 8);
  EXPECT_EQ(found.extremes[0].channel, 9);
  EXPECT_EQ(found.extremes[0].value, -90);
  EXPECT_EQ(found.extremes[0].beyond[1], 1);
  EXPECT_EQ(found.top_channels(2), (std::vector<int64_t>{9, 7}));
  int64_t counted = 0;
  for (const int64_t count : found.histogram) counted += count;
  EXPECT_EQ(counted, 9 * 40);
}

TEST_F(SiteStatisticsTest, LogBinsHaveExactEdges) {
  const std::vector<double> edges = log_bin_edges();
  const float above = static_cast<float>(edges[50]);
  const float below = std::nextafter(above, 0.0f);
  const at::Tensor first = at::tensor({above, -above, below, 0.0f, 1e-30f}).view({5, 1});
  const at::Tensor second = at::tensor({1e9f, 2.0f, 2.5f, -3.0f}).view({4, 1});
  const SiteSummary found = both_passes(site_called("encoder.0.ffn.gelu", "gelu"), options_,
                                        tokens_, batches_, {first, second});
  EXPECT_EQ(found.log_histogram[50], 2);
  EXPECT_EQ(found.log_histogram[49], 1);
  EXPECT_EQ(found.log_below, 2);
  EXPECT_EQ(found.log_above, 1);
}

TEST_F(SiteStatisticsTest, ConstantValuesHaveNoOutliers) {
  const at::Tensor ones = at::tensor(std::vector<float>(20, 1.0f)).view({5, 4});
  const SiteSummary found = both_passes(site_called("encoder.0.ffn.norm", "norm"), options_,
                                        tokens_, batches_, {ones, ones.slice(0, 0, 4)});
  EXPECT_EQ(found.beyond, (std::vector<int64_t>{0, 0, 0, 0}));
  EXPECT_EQ(found.reach(found.all), 0);
  EXPECT_EQ(found.top_channels(2), (std::vector<int64_t>{0, 1}));
}

TEST_F(SiteStatisticsTest, PooledRowsAreSequences) {
  Site pooled = site_called("pooler.output", "pooler");
  pooled.rows = RowsOf::kSequences;
  const SiteSummary found = both_passes(pooled, options_, tokens_, batches_,
                                        {normal_rows(2, 8, 3), normal_rows(1, 8, 4)});
  EXPECT_EQ(found.rows, RowKind::kSequences);
  EXPECT_EQ(found.row_count, 3);
}

TEST_F(SiteStatisticsTest, RawRowsAreBounded) {
  options_.raw_tokens = 7;
  const std::vector<at::Tensor> rows = {normal_rows(5, 3, 5), normal_rows(4, 3, 6)};
  const SiteSummary found = both_passes(site_called("encoder.0.ffn.norm", "norm"), options_,
                                        tokens_, batches_, rows, /*raw=*/true);
  ASSERT_EQ(found.raw.size(), 2u);
  EXPECT_EQ(found.raw[0].size(0), 5);
  EXPECT_EQ(values_of(found.raw[1]), values_of(rows[1].slice(0, 0, 2)));
}

// Two heads; the columns behind a sequence's keys are padding and not looked at. Compact matrices
// have none.
TEST_F(SiteStatisticsTest, AttentionLeavesPaddedColumnsOut) {
  Site site = site_called("encoder.0.attention.probs", "probs");
  site.heads = 2;
  std::vector<float> first(2 * 5 * 3, 0), second(2 * 4 * 4, 0.25f);
  for (int row = 0; row < 6; ++row) first[row * 3] = 1;       // 3 tokens: all to the first
  for (int row = 6; row < 10; ++row) first[row * 3 + 1] = 1;  // 2 tokens: all to the last
  const SiteSummary found =
      both_passes(site, options_, tokens_, batches_,
                  {at::tensor(first).view({10, 3}), at::tensor(second).view({8, 4})});
  EXPECT_EQ(found.rows, RowKind::kAttention);
  ASSERT_EQ(found.channels.size(), 2u);
  EXPECT_EQ(found.channels[0].count, 9 + 4 + 16);
  // Every query gives a sum of 1.
  EXPECT_NEAR(found.channels[1].mean, 9.0 / (9 + 4 + 16), 1e-7);
  EXPECT_NEAR(found.attention.first[0], (3 + 4 * 0.25) / 9, 1e-7);
  EXPECT_NEAR(found.attention.last[1], (2 + 4 * 0.25) / 9, 1e-7);
  EXPECT_EQ(found.attention.separators[0], 0) << "no tokenizer, no separators";

  std::vector<float> blocks(first.begin(), first.begin() + 6 * 3);
  for (int row = 6; row < 10; ++row) blocks.insert(blocks.end(), {0, 1});
  const SiteSummary compact =
      both_passes(site, options_, tokens_, batches_,
                  {at::tensor(blocks).view({-1, 1}), at::tensor(second).view({-1, 1})});
  EXPECT_EQ(compact.row_count, found.row_count);
  EXPECT_EQ(compact.histogram, found.histogram);
  EXPECT_EQ(compact.log_histogram, found.log_histogram);
  EXPECT_EQ(compact.channels[1].mean, found.channels[1].mean);
  EXPECT_EQ(compact.attention.last, found.attention.last);
}

TEST_F(SiteStatisticsTest, TokensAreRankedByFrequency) {
  ASSERT_EQ(tokens_.vocabulary.size(), 8u);
  EXPECT_EQ(tokens_.entry(5).count, 2);
  EXPECT_EQ(tokens_.entry(5).rank, 1);
  EXPECT_EQ(tokens_.entry(6).rank, 2);
  EXPECT_EQ(tokens_.tokens.sequence(4), 1);
  EXPECT_EQ(tokens_.tokens.sequence(5), 2);
  EXPECT_EQ(tokens_.tokens.positions[8], 3);
}

TEST(CalibrationTokens, KeptPaddingIsAKindOfItsOwn) {
  const std::vector<TokenSequence> sequences = {{{5, 6}, {0, 0}}};
  const std::vector<Batch> batches = {pack(sequences, /*keep_padding_to=*/4)};
  const CalibrationTokens tokens = calibration_tokens(batches, nullptr);
  EXPECT_EQ(tokens.tokens.kinds[1], TokenKind::kOther);
  EXPECT_EQ(tokens.tokens.kinds[3], TokenKind::kPadding);
  EXPECT_EQ(tokens.entry(0).count, 0);
}

}  // namespace
}  // namespace quell
