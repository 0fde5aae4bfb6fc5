package enginetest

import (
	"bytes"
	"encoding/binary"
)

// Package makes the bytes of name-1.0-1 with a real lead and headers, and without a payload. The arch "src" makes a
// source package, "nosrc" one without its sources.
func Package(name, arch string) []byte {
	const tagName, tagVersion, tagRelease, tagArch, tagNoSource, tagSourcePackage = 1000, 1001, 1002, 1022, 1051, 1106
	lead := make([]byte, 96)
	copy(lead, []byte{0xed, 0xab, 0xee, 0xdb, 3})
	lead[79] = 5 // the signature is a header
	tags := []tag{{tagName, name}, {tagVersion, "1.0"}, {tagRelease, "1"}, {tagArch, arch}}
	if arch == "src" || arch == "nosrc" {
		lead[7] = 1
		tags[3].value = "x86_64" // of the machine that made it, as rpmbuild does
		if arch == "nosrc" {
			tags = append(tags, tag{tagNoSource, ""})
		}
		tags = append(tags, tag{tagSourcePackage, ""})
	}
	signature := header(nil)
	return bytes.Join([][]byte{lead, signature, header(tags)}, nil)
}

type tag struct {
	number uint32
	value  string // empty: the number 1
}

// header makes a header structure: intro, index and data ("RPM Package File Structure" in rpm's documentation).
func header(tags []tag) []byte {
	const typeInt32, typeString = 4, 6
	var index, data bytes.Buffer
	for _, t := range tags {
		kind := uint32(typeString)
		if t.value == "" {
			kind = typeInt32
			for data.Len()%4 != 0 {
				data.WriteByte(0)
			}
		}
		for _, n := range []uint32{t.number, kind, uint32(data.Len()), 1} {
			index.Write(binary.BigEndian.AppendUint32(nil, n))
		}
		if kind == typeInt32 {
			data.Write(binary.BigEndian.AppendUint32(nil, 1))
			continue
		}
		data.WriteString(t.value)
		data.WriteByte(0)
	}
	out := []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}
	out = binary.BigEndian.AppendUint32(out, uint32(len(tags)))
	out = binary.BigEndian.AppendUint32(out, uint32(data.Len()))
	return append(append(out, index.Bytes()...), data.Bytes()...)
}
