"""page.py - puts lab.html, lab.js, worker.js and the compiled command into one file.

    python3 src/browser/page.py GKA.JS OUT.HTML
"""
import os
import sys

MOST = 5 << 20  # bytes


def main():
    if len(sys.argv) != 3:
        print("page.py: GKA.JS OUT.HTML were expected", file=sys.stderr)
        return 2
    folder = os.path.dirname(os.path.abspath(__file__))

    def text(path):
        with open(path, encoding="utf-8") as file:
            return file.read()
    scripts = {"@worker@": text(sys.argv[1]) + text(os.path.join(folder, "worker.js")), "@lab@": text(os.path.join(folder, "lab.js"))}
    page = text(os.path.join(folder, "lab.html"))
    for name, script in scripts.items():
        page = page.replace(name, script.replace("</script", "<\\/script"))
    if len(page.encode()) > MOST:
        print(f"page.py: {len(page.encode())} bytes; at most {MOST} were expected", file=sys.stderr)
        return 1
    with open(sys.argv[2] + ".part", "w", encoding="utf-8") as file:
        file.write(page)
    os.replace(sys.argv[2] + ".part", sys.argv[2])
    print(f"browser: {sys.argv[2]} ({len(page.encode()) / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
