#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "framework/base/error.h"
#include "framework/model/batch.h"

namespace quell {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

std::vector<int64_t> values(const at::Tensor& tensor) {
  return {tensor.const_data_ptr<int64_t>(), tensor.const_data_ptr<int64_t>() + tensor.numel()};
}

// The second sequence has two positions of padding, with ids of their own.
const std::vector<TokenSequence> kSequences = {{{7, 8, 9}, {0, 0, 1}}, {{5, 6, 99, 98}, {}, 2}};

TEST(Pack, DropsPadding) {
  const Batch batch = pack(kSequences);
  EXPECT_THAT(values(batch.token_ids), ElementsAre(7, 8, 9, 5, 6));
  EXPECT_THAT(values(batch.segment_ids), ElementsAre(0, 0, 1, 0, 0));
  EXPECT_THAT(values(batch.position_ids), ElementsAre(0, 1, 2, 0, 1));
  EXPECT_THAT(batch.offsets, ElementsAre(0, 3, 5));
  EXPECT_THAT(batch.valid_lengths, ElementsAre(3, 2));
  EXPECT_EQ(batch.sequences(), 2);
  EXPECT_EQ(batch.tokens(), 5);
  EXPECT_FALSE(batch.keeps_padding());
}

TEST(Pack, KeepsPaddingAsGivenAndFillsTheRest) {
  const Batch batch = pack(kSequences, 5, 77);
  EXPECT_THAT(values(batch.token_ids), ElementsAre(7, 8, 9, 77, 77, 5, 6, 99, 98, 77));
  EXPECT_THAT(values(batch.segment_ids), ElementsAre(0, 0, 1, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(values(batch.position_ids), ElementsAre(0, 1, 2, 3, 4, 0, 1, 2, 3, 4));
  EXPECT_THAT(batch.offsets, ElementsAre(0, 5, 10));
  EXPECT_THAT(batch.valid_lengths, ElementsAre(3, 2));
  EXPECT_TRUE(batch.keeps_padding());
}

TEST(Pack, CutsPaddingButNeverRealTokens) {
  EXPECT_THAT(values(pack(kSequences, 3).token_ids), ElementsAre(7, 8, 9, 5, 6, 99));
  try {
    pack(kSequences, 2);
    FAIL();
  } catch (const ConfigError& error) {
    EXPECT_THAT(error.what(), HasSubstr("a sequence of 3 tokens does not fit into 2 positions"));
  }
}

TEST(Pack, AddsADecoderSide) {
  Batch batch = pack(kSequences);
  const std::vector<TokenSequence> decoder = {{{1, 2}}, {{3, 4, 5}}};
  pack_decoder(batch, decoder);
  EXPECT_THAT(values(batch.decoder_token_ids), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(batch.decoder_offsets, ElementsAre(0, 2, 5));
  EXPECT_THAT(batch.decoder_valid_lengths, ElementsAre(2, 3));
  EXPECT_EQ(batch.tokens(), 5);
}

}  // namespace
}  // namespace quell
