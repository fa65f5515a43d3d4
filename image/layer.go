package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// expectStatic refuses a program that an empty base could not run: of another architecture, or with a loader or
// libraries to look for.
func expectStatic(program, architecture string) error {
	binary, err := elf.Open(program)
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	defer binary.Close()
	if want, known := machines[architecture]; !known || binary.Machine != want {
		return fmt.Errorf("%s is for %s, not for %s", program, binary.Machine, architecture)
	}
	libraries, err := binary.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	if len(libraries) > 0 {
		return fmt.Errorf("%s is not static: it needs %s", program, strings.Join(libraries, ", "))
	}
	for _, segment := range binary.Progs {
		if segment.Type == elf.PT_INTERP {
			return fmt.Errorf("%s is not static: it names a loader", program)
		}
	}
	return nil
}

// newLayer holds the files, of which only the entry point may be executed, and the directories on the way to them.
func newLayer(files []file, entry string, created time.Time) (v1.Layer, error) {
	content := map[string][]byte{}
	directories := map[string]bool{}
	for _, f := range files {
		bytes, err := os.ReadFile(f.from)
		if err != nil {
			return nil, err
		}
		if _, twice := content[f.at]; twice {
			return nil, fmt.Errorf("%s is given twice", f.at)
		}
		content[f.at] = bytes
		for parent := path.Dir(f.at); parent != "/"; parent = path.Dir(parent) {
			directories[parent] = true
		}
	}
	var names []string
	for name := range content {
		names = append(names, name)
	}
	for name := range directories {
		names = append(names, name)
	}
	// A directory sorts before what is in it.
	slices.Sort(names)

	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	for _, name := range names {
		// Owner and group stay 0, without names.
		header := &tar.Header{Name: strings.TrimPrefix(name, "/"), ModTime: created, Format: tar.FormatUSTAR}
		if directories[name] {
			header.Typeflag, header.Name, header.Mode = tar.TypeDir, header.Name+"/", 0o755
		} else {
			header.Typeflag, header.Size, header.Mode = tar.TypeReg, int64(len(content[name])), 0o444
		}
		if name == entry {
			header.Mode = 0o555
		}
		if err := archive.WriteHeader(header); err != nil {
			return nil, err
		}
		if _, err := archive.Write(content[name]); err != nil {
			return nil, err
		}
	}
	if err := archive.Close(); err != nil {
		return nil, err
	}
	opener := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil }
	return tarball.LayerFromOpener(opener, tarball.WithCompressionLevel(gzip.BestCompression))
}
