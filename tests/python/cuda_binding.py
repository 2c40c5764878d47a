"""The structures and numbers that scripts/gpu/gka_cuda.py writes out by hand are those of the C headers.

    cuda_binding.py GKA

The GPU machine has the library and no headers, so the Python file repeats gka_cuda_layer, gka_cuda_gradient and gka_form. Once
the two counted the forms in opposite orders, and "two-term" ran three-term. Needs neither torch nor a GPU: the Python file is
read as text.
"""
import ast
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def c_fields(struct):
    """(type, name) of each member of a structure of gka/cuda.h, in order."""
    text = (ROOT / "include/gka/cuda.h").read_text()
    body = re.search(r"typedef struct %s \{(.*?)\} %s;" % (struct, struct), text, re.S).group(1)
    body = re.sub(r"/\*.*?\*/", "", body, flags=re.S)
    fields = []
    for declaration in filter(None, (line.strip() for line in body.split(";"))):
        words = declaration.replace("const ", "").split(None, 1)
        for name in words[1].split(","):
            kind = "pointer" if "*" in name else {"int64_t": "int64", "double": "double"}.get(words[0], "int")
            fields.append((kind, name.strip(" *")))
    return fields


def python_fields(tree, name):
    """The same of a ctypes.Structure: its _fields_ evaluated with words in place of the types."""
    node = next(n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == name)
    value = next(n.value for n in node.body if isinstance(n, ast.Assign))

    class Types:
        c_int64, c_double, c_int, c_void_p = "int64", "double", "int", "pointer"

    fields = eval(compile(ast.Expression(value), "gka_cuda.py", "eval"), {"ctypes": Types})  # our own source
    return [(kind, field) for field, kind in fields]


def main():
    tree = ast.parse((ROOT / "scripts/gpu/gka_cuda.py").read_text())
    wrong = []
    for python, c in (("_Layer", "gka_cuda_layer"), ("_Gradient", "gka_cuda_gradient")):
        if python_fields(tree, python) != c_fields(c):
            wrong.append(f"{python} {python_fields(tree, python)}\n  {c} {c_fields(c)}")
    forms = next(n.value for n in tree.body if isinstance(n, ast.Assign) and n.targets[0].id == "FORMS")
    header = (ROOT / "include/gka/problem.h").read_text()
    order = re.findall(r"\bGKA_\w+", re.search(r"typedef enum gka_form \{(.*?)\}", header, re.S).group(1))
    expected = {"three-term": order.index("GKA_THREE_TERM"), "two-term": order.index("GKA_TWO_TERM")}
    if ast.literal_eval(forms) != expected:
        wrong.append(f"FORMS {ast.literal_eval(forms)}, gka_form {expected}")
    print("\n".join(wrong) or "gka_cuda.py is as gka/cuda.h and gka/problem.h have it")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
