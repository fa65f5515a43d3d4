package main

import (
	"archive/tar"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// writeArchive writes an OCI layout with the manifest.json that `docker load` of before OCI looks for.
func writeArchive(to io.Writer, image v1.Image, name string, created time.Time) error {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	written, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	err = written.AppendImage(image,
		layout.WithPlatform(v1.Platform{OS: config.OS, Architecture: config.Architecture, Variant: config.Variant}),
		layout.WithAnnotations(map[string]string{
			// What containerd, and with it Kubernetes, calls an imported image; skopeo and podman read the second.
			"io.containerd.image.name":          name,
			"org.opencontainers.image.ref.name": name[strings.LastIndex(name, ":")+1:],
		}))
	if err != nil {
		return err
	}
	legacy, err := dockerManifest(image, name)
	if err == nil {
		err = written.WriteFile("manifest.json", legacy, 0o644)
	}
	if err != nil {
		return err
	}
	return tarDirectory(to, dir, created)
}

func dockerManifest(image v1.Image, name string) ([]byte, error) {
	manifest, err := image.Manifest()
	if err != nil {
		return nil, err
	}
	blob := func(of v1.Descriptor) string { return "blobs/" + of.Digest.Algorithm + "/" + of.Digest.Hex }
	entry := struct {
		Config   string
		RepoTags []string
		Layers   []string
	}{Config: blob(manifest.Config), RepoTags: []string{name}}
	for _, layer := range manifest.Layers {
		entry.Layers = append(entry.Layers, blob(layer))
	}
	return json.Marshal([]any{entry})
}

func tarDirectory(to io.Writer, dir string, created time.Time) error {
	var names []string
	err := filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	slices.Sort(names)
	archive := tar.NewWriter(to)
	for _, name := range names {
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		relative, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: relative, Size: int64(len(content)), Mode: 0o644, ModTime: created, Format: tar.FormatUSTAR}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		if _, err := archive.Write(content); err != nil {
			return err
		}
	}
	return archive.Close()
}
