"""A dnf repository on a server: its metadata and packages, with the checks that dnf makes of them."""
import base64
import functools
import hashlib
import json
import os
import subprocess
import tempfile
import urllib.parse
import urllib.request
import xml.etree.ElementTree

# What a repository may say in dnf.conf.
OPTIONS = {"name", "baseurl", "metalink", "mirrorlist", "enabled", "skip_if_unavailable", "metadata_expire", "best",
    "module_hotfixes", "priority", "cost", "gpgcheck", "repo_gpgcheck", "gpgkey", "proxy"}

NAMES = {"r": "http://linux.duke.edu/metadata/repo", "c": "http://linux.duke.edu/metadata/common",
    "rpm": "http://linux.duke.edu/metadata/rpm"}


class BadSignature(Exception):
    """What dnf says of a signature that is missing or wrong."""


class Damaged(Exception):
    """What dnf says of metadata that are not what they should be."""


def read(cache):
    """The packages, as far as the metadata were fetched."""
    try:
        with open(cache + "/packages.json") as f:
            return json.load(f)
    except FileNotFoundError:
        return []


def write(cache, packages):
    with open(cache + "/packages.json", "w") as f:
        json.dump(packages, f)


def newest(found, key):
    """The one with the highest version and release, as rpm compares them; None of nothing."""
    def compare(a, b):
        lua = "%%{lua: print(rpm.vercmp('%s', '%s'))}" % (key(a), key(b))
        return int(subprocess.run(["rpm", "--eval", lua], capture_output=True, text=True, check=True).stdout)
    return max(found, key=functools.cmp_to_key(compare), default=None)


def unpack(name, data):
    """Concatenated members and frames are one file."""
    for suffix, command in ((".gz", ["gzip", "-dc"]), (".zst", ["zstd", "-dcq"]), (".xz", ["xz", "-dc"])):
        if name.endswith(suffix):
            return subprocess.run(command, input=data, capture_output=True, check=True).stdout
    return data


class Server:
    def __init__(self, options):
        self.options = options
        proxy = {"http": options["proxy"], "https": options["proxy"]} if options.get("proxy") else {}
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxy))

    def get(self, url):
        with self.opener.open(url, timeout=10) as answer:
            return answer.read()

    def on(self, option):
        return self.options.get(option, "0") in ("1", "True", "true", "yes")

    def metadata(self, url):
        """repomd.xml, and the packages. A repomd.xml of a test that is not XML, or names no list of packages, has none,
        and a package of which a test says the name alone has no file."""
        repomd = self.get(url)
        if self.on("repo_gpgcheck"):
            self.check_metadata(repomd, self.get(url + ".asc"))
        try:
            data = xml.etree.ElementTree.fromstring(repomd)
        except xml.etree.ElementTree.ParseError:
            return repomd, []
        data = data.find("r:data[@type='primary']", NAMES)
        if data is None:
            return repomd, []
        primary = data.find("r:location", NAMES).get("href")
        packed = self.get(url.removesuffix("repodata/repomd.xml") + primary)
        if data.findtext("r:checksum", None, NAMES) not in (None, hashlib.sha256(packed).hexdigest()):
            raise Damaged("Downloading successful, but checksum doesn't match. Calculated: ...")
        packages = []
        for p in xml.etree.ElementTree.fromstring(unpack(primary, packed)).findall("c:package", NAMES):
            name, version, location = (p.find("c:" + tag, NAMES) for tag in ("name", "version", "location"))
            provides = [e.get("name") for e in p.findall("c:format/rpm:provides/rpm:entry", NAMES)]
            packages.append({"name": name.text, "provides": [name.text] + provides, "file": None, "evr": "0-1"})
            if location is not None:
                packages[-1].update(file=location.get("href"), sha256=p.findtext("c:checksum", None, NAMES),
                    evr="%s-%s" % (version.get("ver"), version.get("rel")))
        return repomd, packages

    def keys(self):
        return [self.get(url) for url in self.options.get("gpgkey", "").split()]

    def check_metadata(self, repomd, signature):
        with tempfile.TemporaryDirectory() as d:
            for name, content in (("key", b"".join(map(dearmor, self.keys()))), ("repomd.xml", repomd),
                    ("repomd.xml.asc", signature)):
                with open(os.path.join(d, name), "wb") as f:
                    f.write(content)
            done = subprocess.run(["gpgv", "--keyring", d + "/key", d + "/repomd.xml.asc", d + "/repomd.xml"],
                capture_output=True)
        if done.returncode:
            raise BadSignature("Bad GPG signature")

    def package(self, url, package, file):
        """Gets a package, unless it is there already, and checks it."""
        if not os.path.exists(file) or digest(file) != package["sha256"]:
            data = self.get(urllib.parse.urljoin(url.removesuffix("repodata/repomd.xml"), package["file"]))
            with open(file, "wb") as f:
                f.write(data)
        if digest(file) != package["sha256"]:
            raise OSError("Downloading successful, but checksum doesn't match.")
        if not self.on("gpgcheck"):
            return
        with tempfile.TemporaryDirectory() as d:
            for i, key in enumerate(self.keys()):
                with open("%s/%d" % (d, i), "wb") as f:
                    f.write(key)
                subprocess.run(["rpmkeys", "--dbpath", d, "--import", f.name], check=True)
            done = subprocess.run(["rpmkeys", "--dbpath", d, "--checksig", file], capture_output=True, text=True)
        if done.returncode or "signatures OK" not in done.stdout:
            raise BadSignature("Package %s is not signed" % os.path.basename(file))


def digest(file):
    with open(file, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()


def dearmor(keys):
    """The bytes of armored keys, one after another."""
    out = b""
    for block in keys.decode().replace("\r", "").split("-----BEGIN ")[1:]:
        body = block.split("\n\n", 1)[1].split("\n-----END", 1)[0]
        out += base64.b64decode("".join(line for line in body.split("\n") if not line.startswith("=")))
    return out
