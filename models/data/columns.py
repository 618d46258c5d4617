"""Every table column of the data stage, named once."""

USER = "user_id"
ITEM = "item_id"

# Interactions.
TIMESTAMP = "timestamp"  # seconds since 1970, null where unknown
RATING = "rating"  # null where the source has none
POSITION = "position"  # orders interactions whose timestamps do not
SPLIT = "split"  # a split that came with the data: train, valid or test; null where none did
ORDER = "order"  # of labelled pairs: of two rows of a user the earlier one has the smaller number

# Items. Any other text of an item is an attribute: column ``attribute.<name>``.
TITLE = "title"
BRAND = "brand"
CATEGORIES = "categories"
ATTRIBUTE = "attribute."
YEAR = ATTRIBUTE + "year"

# Raw rows, before they are checked.
LINE = "line"  # number of the line (or of the row, in parquet) in its file, from 1
CONTENT = "content"  # the row as it stands in the file, null where its fields say it all
REASON = "reason"  # why the row is malformed, null where it is not

# A prepared data set.
LABEL = "label"  # 0 train, 1 valid, 2 test
TARGET = "target"  # whether the interaction is the target of an evaluation example
USER_NUMBER = "user"
ITEM_NUMBER = "item"
