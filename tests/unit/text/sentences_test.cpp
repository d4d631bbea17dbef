#include "framework/text/sentences.h"

#include <gtest/gtest.h>

namespace quell {
namespace {

TEST(Sentences, EndAtPunctuation) {
  SentenceSplitter splitter;
  EXPECT_EQ(splitter.lines("It rained. Nobody came!  Why? "), "It rained.\nNobody came!\nWhy?");
  EXPECT_EQ(splitter.lines("He said \"no.\" Then he left."), "He said \"no.\"\nThen he left.");
  EXPECT_EQ(splitter.lines("one part of 3.5 and www.example.org here"),
            "one part of 3.5 and www.example.org here");
  EXPECT_EQ(splitter.lines("Il pleut à Genève. Égaré, il s'arrête."),
            "Il pleut à Genève.\nÉgaré, il s'arrête.");
}

TEST(Sentences, GoOnAfterAbbreviations) {
  SentenceSplitter splitter;
  EXPECT_EQ(splitter.lines("Mr. Smith met Prof. Jones. They talked."),
            "Mr. Smith met Prof. Jones.\nThey talked.");
}

TEST(Sentences, LinesStayApart) {
  SentenceSplitter splitter;
  EXPECT_EQ(splitter.lines("no full stop here\nnor here\r\n\n  third. And fourth"),
            "no full stop here\nnor here\nthird.\nAnd fourth");
}

TEST(Sentences, NothingToSplit) {
  SentenceSplitter splitter;
  EXPECT_EQ(splitter.lines(""), "");
  EXPECT_EQ(splitter.lines(" \n\n "), "");
  EXPECT_EQ(splitter.lines("one"), "one");
}

}  // namespace
}  // namespace quell
