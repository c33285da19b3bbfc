from ser_transfer.tables import text_table


def test_columns_are_as_wide_as_their_widest_cell():
    assert text_table([("system", "UAR"), ("yamnet, untrained", "0.4"), ("mfcc", "0.39")]) == (
        "system             UAR\n-----------------  ----\nyamnet, untrained  0.4\nmfcc               0.39"
    )
