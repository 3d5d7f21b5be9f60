"""Words that the fuzzer makes inputs of, beside what it finds by itself: the names and signs of each form."""

from __future__ import annotations

from hydrators import load_names

NAMES = load_names(None)
COLLECTIONS = tuple(collection.name for collection in NAMES.collections)
FIELDS = sorted(
    {
        field.name
        for fields in (
            NAMES.loan_fields,
            NAMES.borrower,
            NAMES.co_borrower,
            NAMES.application,
            *(collection.fields for collection in NAMES.collections),
        )
        for field in fields
    }
)

JSON = (
    "[{", "}]", '":', '","', "[[", "{}", "[]", '"', '\\"', "\\u0000", "\\ud800", "\\udc00", "\\ud83d\\ude00", "null",
    "true", "false", "1e999", "-0", "0.5", "\ufeff", "NaN",
)  # fmt: skip
XML = (
    "<", ">", "</", "/>", "<!--", "-->", "<?", "?>", "<![CDATA[", "]]>", '<!DOCTYPE a [<!ENTITY x "y">]>', "&amp;",
    "&lt;", "&#x", "&#1;", ";", ' xmlns="u"', ' xmlns:n="u"', "n:", '="', '<?xml version="1.0" encoding="utf-16"?>',
    "\ufeff", "<result", ' status="Error"', ' status="OK"', "<error>", "</error>",
)  # fmt: skip
VALUES = (
    "$", "%", "(", ")", ",000", ".00", "-", "e9", "NaN", "Infinity", "0" * 16, "9" * 16, "12/31/", "2026-11-20",
    "T13:04:05", " PM", "True", "No", "991-91-9991", "***-**-9991", "\u2022", "\u0661", "\u00a0", "\u202e", "\ufffe",
)  # fmt: skip
_BATCH = (
    '"eventType":', '"loanNumber":', '"referenceNumber":', '"REFERENCENUMBER":', '"values":', '"R000123"',
    '"sLastModifiedTimestamp":', '"2026-11-20T13:04:05.123"', "\\u017f",
)  # fmt: skip
_STAMPS = (
    "2026-11-20", "T13:04:05", ".123456789", "Z", "+05:30", "-0800", "11/1/2026 1:30:00 AM", " PM", ",5", "+23:59",
    "2026-03-08T02:30:00", "2011-12-30", "0001-01-01T00:00:00", "9999-12-31T23:59:59", "-24:00", "1763640000",
    "1763640000123", "99999999999", "\u0661", "\u00a0", "\u2003",
)  # fmt: skip
_LOXML = (
    '<field id="', "</field>", "<record>", "</record>", '<collection id="', "</collection>", "<applicant>",
    "</applicant>", "<loan>", "</loan>", "<LOXmlFormat>", "sLastModifiedTimestamp", *COLLECTIONS,
)  # fmt: skip
_RESULTS = ("<loan ", 'name="', 'old_name="', 'valid="False"', "LastModifiedD", "not found", "loan", "ticket", "denied")
_OPERATIONS = ("LoadByRefNumber", "Save", "ListModifiedLoansByAppCode", "ClearModifiedLoanByNameByAppCode")
_SOAP = (
    "<s:Envelope xmlns:s='u'>", "<s:Body>", "</s:Body></s:Envelope>", "<Fault>", "<faultcode>", "Client",
    "<faultstring>", "<Reason>", "<Text>", "<Code>", "<Value>",
    *(f"{name}{part}" for name in _OPERATIONS for part in ("Response", "Result")),
)  # fmt: skip
_TICKETS = ('{"access_token":"', '"expires_in":', "14400", '"error":')
_HYDRATORS = (
    "\n@\n", "\n+\n", "\n^\n", *(f"\n[{name}\n" for name in COLLECTIONS), *(f"\n{name}=" for name in FIELDS),
)  # fmt: skip

WORDS: dict[str, tuple[str, ...]] = {
    "batches": JSON + _BATCH,
    "stamps": _STAMPS,
    "values": VALUES,
    "loxml": XML + _LOXML,
    "results": XML + _RESULTS,
    "soap": XML + _SOAP,
    "tickets": JSON + _TICKETS,
    "hydrators": VALUES + _HYDRATORS,
}
