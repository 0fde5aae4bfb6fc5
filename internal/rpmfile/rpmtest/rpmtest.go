// Package rpmtest makes packages with any header, also such as rpmbuild does not write: damaged, hostile, of sizes that
// take too long to build.
//
// Tags come in, the bytes of a package without a payload go out; or a package comes in, and the same one goes out as an
// old rpm would have made it. Only tests and measurements import it, and it imports
// nothing of ours.
package rpmtest

import (
	"bytes"
	"crypto/md5"  //nolint:gosec // as rpm 4.11 has it
	"crypto/sha1" //nolint:gosec // the same
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
)

// Tags are a header by number (rpmtag.h). A value is a string, []string, []byte, or integers of one of rpm's widths.
type Tags map[int]any

// Package makes a package, as "RPM Package File Structure" in rpm's documentation has it, of tags that override those
// before them. Numbers below 1000 are put into the signature header, the others into the header proper.
func Package(tags ...Tags) []byte {
	signed, proper := Tags{}, Tags{}
	for _, some := range tags {
		for number, value := range some {
			if number < 1000 {
				signed[number] = value
			} else {
				proper[number] = value
			}
		}
	}
	lead := make([]byte, 96)
	copy(lead, []byte{0xed, 0xab, 0xee, 0xdb, 3})
	lead[79] = 5 // the signature is a header
	signature := header(62, signed)
	for len(signature)%8 != 0 {
		signature = append(signature, 0)
	}
	return slices.Concat(lead, signature, header(63, proper))
}

// Old makes of a package what rpm 4.11 of EL 7 would have made: its header has no digest of the payload, and the
// digests beside it are SHA-1 of the header and MD5 of both.
func Old(content []byte) []byte {
	const lead = 96
	_, size := split(content[lead:])
	proper, n := split(content[lead+(size+7)/8*8:])
	payload := content[lead+(size+7)/8*8+n:]
	for _, number := range []int{5092, 5093, 5097} {
		delete(proper, number)
	}
	old := header(63, proper)
	sha, both := sha1.Sum(old), md5.New() //nolint:gosec // as rpm 4.11 has it
	both.Write(old)
	both.Write(payload)
	signature := header(62, Tags{269: hex.EncodeToString(sha[:]), 1000: []uint32{uint32(len(old) + len(payload))},
		1004: both.Sum(nil), 1007: []uint32{uint32(len(payload))}})
	signature = append(signature, make([]byte, -len(signature)&7)...)
	return slices.Concat(content[:lead], signature, old, payload)
}

// split takes a header apart, and returns its size. The header is one that rpm has made.
func split(raw []byte) (Tags, int) {
	tags, size := int(binary.BigEndian.Uint32(raw[8:])), int(binary.BigEndian.Uint32(raw[12:]))
	index, data := raw[16:16+16*tags], raw[16+16*tags:]
	all := Tags{}
	for e := range slices.Chunk(index[16:], 16) { // the first is the region
		kind, count := binary.BigEndian.Uint32(e[4:]), int(binary.BigEndian.Uint32(e[12:]))
		value := stored{kind: int(kind), width: 1, count: count, value: data[binary.BigEndian.Uint32(e[8:]):]}
		length := count
		switch kind {
		case 3, 4, 5:
			value.width = 1 << (kind - 2)
			length *= value.width
		case 6, 8, 9:
			length = 0
			for range count {
				length += bytes.IndexByte(value.value[length:], 0) + 1
			}
		}
		value.value = value.value[:length]
		all[int(binary.BigEndian.Uint32(e))] = value
	}
	return all, 16 + 16*tags + size
}

// stored is a value as it stands in a header.
type stored struct {
	kind, width, count int
	value              []byte
}

// header makes a header: intro, index and data. All tags are in its region, which is the first of them.
func header(region int, tags Tags) []byte {
	const typeBin = 7
	var index, data bytes.Buffer
	entry := func(to *bytes.Buffer, number, kind, offset, count int) {
		for _, n := range []int{number, kind, offset, count} {
			to.Write(binary.BigEndian.AppendUint32(nil, uint32(int32(n))))
		}
	}
	entry(&index, region, typeBin, 0, 16) // its offset follows
	for _, number := range slices.Sorted(maps.Keys(tags)) {
		kind, width, count, value := encode(tags[number])
		for data.Len()%width != 0 {
			data.WriteByte(0)
		}
		entry(&index, number, kind, data.Len(), count)
		data.Write(value)
	}
	binary.BigEndian.PutUint32(index.Bytes()[8:], uint32(data.Len()))
	entry(&data, region, typeBin, -16*(len(tags)+1), 16)
	out := []byte{0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0}
	out = binary.BigEndian.AppendUint32(out, uint32(len(tags)+1))
	out = binary.BigEndian.AppendUint32(out, uint32(data.Len()))
	return slices.Concat(out, index.Bytes(), data.Bytes())
}

// encode gives type, width and number of a tag's values, and their bytes.
func encode(of any) (kind, width, count int, value []byte) {
	var b bytes.Buffer
	switch v := of.(type) {
	case stored:
		return v.kind, v.width, v.count, v.value
	case string:
		return 6, 1, 1, []byte(v + "\x00")
	case []string:
		for _, s := range v {
			b.WriteString(s + "\x00")
		}
		return 8, 1, len(v), b.Bytes()
	case []byte:
		return 7, 1, len(v), v
	case []uint16:
		kind, width, count = 3, 2, len(v)
	case []uint32:
		kind, width, count = 4, 4, len(v)
	case []uint64:
		kind, width, count = 5, 8, len(v)
	default:
		panic(fmt.Sprintf("a tag of type %T", v))
	}
	_ = binary.Write(&b, binary.BigEndian, of) // into memory
	return kind, width, count, b.Bytes()
}

// Basic are the tags that every package has, version 1-1 for x86_64.
func Basic(name string) Tags {
	return Tags{1000: name, 1001: "1", 1002: "1", 1004: "a summary", 1005: "a description", 1006: []uint32{1700000000},
		1014: "MIT", 1021: "linux", 1022: "x86_64", 1044: name + "-1-1.src.rpm", 1124: "cpio", 1125: "gzip", 1126: "9"}
}

// Files are the tags of a list of files: names, and the numbers of their directories.
func Files(dirs, names []string, in []uint32, mode uint16, flags uint32) Tags {
	n := len(names)
	return Tags{1028: slices.Repeat([]uint32{1}, n), 1030: slices.Repeat([]uint16{mode}, n), 1033: make([]uint16, n),
		1034: make([]uint32, n), 1035: make([]string, n), 1036: make([]string, n),
		1037: slices.Repeat([]uint32{flags}, n), 1039: slices.Repeat([]string{"root"}, n),
		1040: slices.Repeat([]string{"root"}, n), 1116: in, 1117: names, 1118: dirs}
}
