"""The names that Rails has for time zones, as IANA's.

As Rails has had them (`ActiveSupport::TimeZone`), each by the name that IANA prefers today. Where versions of Rails
differ: `International Date Line West` stands among the zones 11 hours behind in ShowMojo's list, which is sorted, so it
is Midway's; `Astana` is Kazakhstan's, as in today's Rails, and not Dhaka's.
"""

from __future__ import annotations

_NAMES = """
Pacific/Pago_Pago: American Samoa
Pacific/Midway: International Date Line West; Midway Island
Pacific/Honolulu: Hawaii
America/Juneau: Alaska
America/Los_Angeles: Pacific Time (US & Canada)
America/Tijuana: Tijuana
America/Phoenix: Arizona
America/Chihuahua: Chihuahua
America/Mazatlan: Mazatlan
America/Denver: Mountain Time (US & Canada)
America/Guatemala: Central America
America/Chicago: Central Time (US & Canada)
America/Mexico_City: Guadalajara; Mexico City
America/Monterrey: Monterrey
America/Regina: Saskatchewan
America/Bogota: Bogota
America/New_York: Eastern Time (US & Canada)
America/Indiana/Indianapolis: Indiana (East)
America/Lima: Lima; Quito
America/Halifax: Atlantic Time (Canada)
America/Caracas: Caracas
America/Guyana: Georgetown
America/La_Paz: La Paz
America/Santiago: Santiago
America/Puerto_Rico: Puerto Rico
America/St_Johns: Newfoundland
America/Sao_Paulo: Brasilia
America/Argentina/Buenos_Aires: Buenos Aires
America/Montevideo: Montevideo
America/Nuuk: Greenland
Atlantic/South_Georgia: Mid-Atlantic
Atlantic/Azores: Azores
Atlantic/Cape_Verde: Cape Verde Is.
Africa/Casablanca: Casablanca
Europe/Dublin: Dublin
Europe/London: Edinburgh; London
Europe/Lisbon: Lisbon
Africa/Monrovia: Monrovia
Etc/UTC: UTC
Europe/Amsterdam: Amsterdam
Europe/Belgrade: Belgrade
Europe/Berlin: Berlin
Europe/Zurich: Bern; Zurich
Europe/Bratislava: Bratislava
Europe/Brussels: Brussels
Europe/Budapest: Budapest
Europe/Copenhagen: Copenhagen
Europe/Ljubljana: Ljubljana
Europe/Madrid: Madrid
Europe/Paris: Paris
Europe/Prague: Prague
Europe/Rome: Rome
Europe/Sarajevo: Sarajevo
Europe/Skopje: Skopje
Europe/Stockholm: Stockholm
Europe/Vienna: Vienna
Europe/Warsaw: Warsaw
Africa/Algiers: West Central Africa
Europe/Zagreb: Zagreb
Europe/Athens: Athens
Europe/Bucharest: Bucharest
Africa/Cairo: Cairo
Africa/Harare: Harare
Europe/Helsinki: Helsinki
Asia/Jerusalem: Jerusalem
Europe/Kyiv: Kyiv
Africa/Johannesburg: Pretoria
Europe/Riga: Riga
Europe/Sofia: Sofia
Europe/Tallinn: Tallinn
Europe/Vilnius: Vilnius
Europe/Kaliningrad: Kaliningrad
Asia/Baghdad: Baghdad
Europe/Istanbul: Istanbul
Asia/Kuwait: Kuwait
Europe/Minsk: Minsk
Europe/Moscow: Moscow; St. Petersburg
Africa/Nairobi: Nairobi
Asia/Riyadh: Riyadh
Europe/Volgograd: Volgograd
Europe/Samara: Samara
Asia/Tehran: Tehran
Asia/Muscat: Abu Dhabi; Muscat
Asia/Baku: Baku
Asia/Tbilisi: Tbilisi
Asia/Yerevan: Yerevan
Asia/Kabul: Kabul
Asia/Yekaterinburg: Ekaterinburg
Asia/Karachi: Islamabad; Karachi
Asia/Tashkent: Tashkent
Asia/Kolkata: Chennai; Kolkata; Mumbai; New Delhi
Asia/Colombo: Sri Jayawardenepura
Asia/Kathmandu: Kathmandu
Asia/Almaty: Almaty; Astana
Asia/Dhaka: Dhaka
Asia/Urumqi: Urumqi
Asia/Yangon: Rangoon
Asia/Bangkok: Bangkok; Hanoi
Asia/Jakarta: Jakarta
Asia/Krasnoyarsk: Krasnoyarsk
Asia/Novosibirsk: Novosibirsk
Asia/Shanghai: Beijing; Chongqing
Asia/Hong_Kong: Hong Kong
Asia/Irkutsk: Irkutsk
Asia/Kuala_Lumpur: Kuala Lumpur
Australia/Perth: Perth
Asia/Singapore: Singapore
Asia/Taipei: Taipei
Asia/Ulaanbaatar: Ulaan Bataar; Ulaanbaatar
Asia/Tokyo: Osaka; Sapporo; Tokyo
Asia/Seoul: Seoul
Asia/Yakutsk: Yakutsk
Australia/Adelaide: Adelaide
Australia/Darwin: Darwin
Australia/Brisbane: Brisbane
Australia/Melbourne: Canberra; Melbourne
Pacific/Guam: Guam
Australia/Hobart: Hobart
Pacific/Port_Moresby: Port Moresby
Australia/Sydney: Sydney
Asia/Vladivostok: Vladivostok
Asia/Magadan: Magadan
Asia/Srednekolymsk: Srednekolymsk
Pacific/Noumea: New Caledonia
Pacific/Guadalcanal: Solomon Is.
Pacific/Auckland: Auckland; Wellington
Pacific/Fiji: Fiji
Asia/Kamchatka: Kamchatka
Pacific/Majuro: Marshall Is.
Pacific/Chatham: Chatham Is.
Pacific/Tongatapu: Nuku'alofa
Pacific/Apia: Samoa
Pacific/Fakaofo: Tokelau Is.
"""

#: Rails' name → IANA's.
RAILS_ZONES = {
    name: zone
    for zone, _, names in (line.partition(": ") for line in _NAMES.strip().splitlines())
    for name in names.split("; ")
}
