"""spdx.py FOLDER - writes into an unpacked wheel what it contains and under which licences, as SPDX 2.3
(NAME.dist-info/sboms/gka.spdx.json, the place of PEP 770). The wheel's own files give names and checksums; a library that LICENCES
does not know is an error: nothing goes out whose licence nobody has read.
"""
import hashlib
import json
import os
import re
import sys

# Of the binary packages of Debian, as their copyright files say it: of the parts that end in the library.
LICENCES = {
    "libopenblas": ("OpenBLAS", "BSD-3-Clause"),
    "libopenblasp": ("OpenBLAS", "BSD-3-Clause"),
    "libblas": ("OpenBLAS or the reference BLAS", "BSD-3-Clause"),
    "liblapack": ("LAPACK", "BSD-3-Clause"),
    "liblapacke": ("LAPACKE", "BSD-3-Clause"),
    "libtmglib": ("LAPACK's test matrices", "BSD-3-Clause"),
    "libmpfr": ("GNU MPFR", "LGPL-3.0-or-later"),
    "libgmp": ("GNU MP", "LGPL-3.0-or-later OR GPL-2.0-or-later"),
    "libjansson": ("Jansson", "MIT"),
    "libmd": ("libmd", "BSD-3-Clause AND BSD-2-Clause AND ISC AND Beerware AND LicenseRef-public-domain"),
    "libpopt": ("popt", "MIT"),
    "libgfortran": ("GNU Fortran's library", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libgomp": ("GNU OpenMP", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libquadmath": ("GCC's quad precision library", "LGPL-2.1-or-later"),
    "libstdc++": ("GNU C++'s library", "GPL-3.0-or-later WITH GCC-exception-3.1"),
    "libgcc_s": ("GCC's library", "GPL-3.0-or-later WITH GCC-exception-3.1"),
}
COMPILED_IN = (("Random123", "BSD-3-Clause"), ("nanobind", "BSD-3-Clause"), ("robin-map", "MIT"))  # headers, and sources of the extension


def package(name, licence, path="", data=b""):
    return {"SPDXID": "SPDXRef-" + re.sub(r"[^A-Za-z0-9.]", "-", path or name), "name": name, "downloadLocation": "NOASSERTION",
            "filesAnalyzed": False, "licenseConcluded": licence, "licenseDeclared": licence, "copyrightText": "NOASSERTION",
            **({"packageFileName": path, "checksums": [{"algorithm": "SHA256", "checksumValue": hashlib.sha256(data).hexdigest()}]} if path else {})}


def packages(folder):
    yield package("gka", "Apache-2.0")
    for name, licence in COMPILED_IN:
        yield package(name, licence)
    for name in sorted(os.listdir(os.path.join(folder, "gka.libs"))):
        key = re.match(r"[A-Za-z_+]+", name)[0]  # without version and hash
        if key not in LICENCES:
            sys.exit(f"spdx: {name}: a library whose licence is in this file's table was expected")
        with open(os.path.join(folder, "gka.libs", name), "rb") as file:
            yield package(*LICENCES[key], f"gka.libs/{name}", file.read())


def main(folder):
    (info,) = [name for name in os.listdir(folder) if name.endswith(".dist-info")]
    listed = list(packages(folder))
    document = {"spdxVersion": "SPDX-2.3", "dataLicense": "CC0-1.0", "SPDXID": "SPDXRef-DOCUMENT", "name": info.removesuffix(".dist-info"),
                "documentNamespace": f"https://spdx.invalid/{info}-{hashlib.sha256(json.dumps(listed).encode()).hexdigest()}",
                "creationInfo": {"created": "1980-01-01T00:00:00Z", "creators": ["Tool: src/package/spdx.py"]},
                "packages": listed, "hasExtractedLicensingInfos": [
                    {"licenseId": "LicenseRef-public-domain", "extractedText": "Parts of libmd are in the public domain."}],
                "relationships": [{"spdxElementId": "SPDXRef-DOCUMENT", "relationshipType": "DESCRIBES", "relatedSpdxElement": "SPDXRef-gka"}] + [
                    {"spdxElementId": "SPDXRef-gka", "relationshipType": "CONTAINS", "relatedSpdxElement": one["SPDXID"]} for one in listed[1:]]}
    os.makedirs(os.path.join(folder, info, "sboms"), exist_ok=True)
    with open(os.path.join(folder, info, "sboms", "gka.spdx.json"), "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1)
    print(f"spdx: {len(listed)} parts in {info}/sboms/gka.spdx.json")


if __name__ == "__main__":
    main(sys.argv[1])
