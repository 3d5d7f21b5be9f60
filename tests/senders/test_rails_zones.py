"""Rails' names of time zones, against ShowMojo's own list: it is sorted by standard offsets, then by names."""

from __future__ import annotations

import datetime as dt
from itertools import chain
from zoneinfo import ZoneInfo

import pytest
from deliveries import sample

from hydrators.senders.rails_zones import RAILS_ZONES

ZONES = sample("showmojo/time-zones.txt").decode().splitlines()

#: Minutes east of UTC in standard time → the names there, as the list has them.
OFFSETS = {
    -660: "American Samoa; International Date Line West; Midway Island",
    -600: "Hawaii",
    -540: "Alaska",
    -480: "Pacific Time (US & Canada); Tijuana",
    -420: "Arizona; Chihuahua; Mazatlan; Mountain Time (US & Canada)",
    -360: "Central America; Central Time (US & Canada); Guadalajara; Mexico City; Monterrey; Saskatchewan",
    -300: "Bogota; Eastern Time (US & Canada); Indiana (East); Lima; Quito",
    -240: "Atlantic Time (Canada); Caracas; Georgetown; La Paz; Santiago",
    -210: "Newfoundland",
    -180: "Brasilia; Buenos Aires; Greenland",
    -120: "Mid-Atlantic",
    -60: "Azores; Cape Verde Is.",
    0: "Casablanca; Dublin; Edinburgh; Lisbon; London; Monrovia; UTC",
    60: "Amsterdam; Belgrade; Berlin; Bern; Bratislava; Brussels; Budapest; Copenhagen; Ljubljana; Madrid; Paris; "
    "Prague; Rome; Sarajevo; Skopje; Stockholm; Vienna; Warsaw; West Central Africa; Zagreb",
    120: "Athens; Bucharest; Cairo; Harare; Helsinki; Jerusalem; Kyiv; Pretoria; Riga; Sofia; Tallinn; Vilnius",
    180: "Baghdad; Istanbul; Kuwait; Minsk; Moscow; Nairobi; Riyadh; St. Petersburg; Volgograd",
    210: "Tehran",
    240: "Abu Dhabi; Baku; Muscat; Tbilisi; Yerevan",
    270: "Kabul",
    300: "Ekaterinburg; Islamabad; Karachi; Tashkent",
    330: "Chennai; Kolkata; Mumbai; New Delhi; Sri Jayawardenepura",
    345: "Kathmandu",
    360: "Almaty; Astana; Dhaka; Urumqi",
    390: "Rangoon",
    420: "Bangkok; Hanoi; Jakarta; Krasnoyarsk; Novosibirsk",
    480: "Beijing; Chongqing; Hong Kong; Irkutsk; Kuala Lumpur; Perth; Singapore; Taipei; Ulaan Bataar",
    540: "Osaka; Sapporo; Seoul; Tokyo; Yakutsk",
    570: "Adelaide; Darwin",
    600: "Brisbane; Canberra; Guam; Hobart; Melbourne; Port Moresby; Sydney; Vladivostok",
    660: "Magadan; New Caledonia; Solomon Is.",
    720: "Auckland; Fiji; Kamchatka; Marshall Is.; Wellington",
    780: "Nuku'alofa; Samoa; Tokelau Is.",
}
AT = {name: offset for offset, names in OFFSETS.items() for name in names.split("; ")}


def test_the_table_is_the_guides_list_in_its_own_order():
    assert list(chain.from_iterable(names.split("; ") for names in OFFSETS.values())) == ZONES
    assert len(AT) == len(ZONES) == 144


@pytest.mark.parametrize("name", ZONES)
def test_a_zone_has_the_offset_of_its_place_in_the_list(name: str):
    """In 2018, when the list was as it is: some of these zones have moved since."""
    zone = ZoneInfo(RAILS_ZONES[name])
    seasons = [dt.datetime(2018, month, 15, 12, tzinfo=zone).utcoffset() for month in (1, 7)]

    assert min(seasons) == dt.timedelta(minutes=AT[name])
