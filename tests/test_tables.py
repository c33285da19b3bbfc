from ser_transfer.tables import text_table


def test_columns_are_as_wide_as_their_widest_cell():
    assert text_table([("system", "UAR"), ("yamnet, untrained", "0.4"), ("mfcc", "0.39")]) == (
        "system             UAR\n"
        "-----------------  ----\n"
        "yamnet, untrained  0.4\n"
        "mfcc               0.39"
    )
