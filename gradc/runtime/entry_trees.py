"""The part of the native routine that deals with trees: arguments to slots, containers to parts and back.

In the language of `entry_text`. None of these functions runs without the GIL, and what they take out of a
container is owned by the call from that moment: other threads may change containers during a call.
"""

from __future__ import annotations

from typing import Final

TREES: Final = """
; Put the arguments of a call into their slots, by position, by name, or by default; whether they fit.
define internal i1 @bind(ptr %plan, ptr %args, i64 %count, ptr %given, ptr %slots) {
  %bound = field i64 %plan Plan.bound
  %names = field ptr %plan Plan.names
  loop %a to %count
  %by_position = item ptr %args %a
  put ptr %by_position %slots %a
  br label %a.latch
  again %a
  %complete = icmp eq i64 %count, %bound
  %only = icmp eq ptr %given, null
  %plain = and i1 %complete, %only
  br i1 %plain, label %yes, label %more
more:
  br i1 %only, label %fill, label %named
named:
  %options = field i64 %plan Plan.options
  %named_args = getelementptr ptr, ptr %args, i64 %count
  %keywords = call i64 @PyTuple_Size(ptr %given)
  %next_option.at = alloca i64
  store i64 %options, ptr %next_option.at
  %open = sub i64 %bound, %count
  %open_names = getelementptr ptr, ptr %names, i64 %count
  loop %k to %keywords
  %keyword = call ptr @PyTuple_GetItem(ptr %given, i64 %k)
  loop %n to %open
  %name = item ptr %open_names %n
  %is_same = icmp eq ptr %name, %keyword
  br i1 %is_same, label %match, label %n.latch
  again %n
  loop %m to %open                              ; strings that were not interned
  %text = item ptr %open_names %m
  %unnamed = icmp eq ptr %text, null
  br i1 %unnamed, label %m.latch, label %spell
spell:
  %order = call i32 @PyUnicode_Compare(ptr %text, ptr %keyword)
  %is_equal = icmp eq i32 %order, 0
  br i1 %is_equal, label %match, label %m.latch
  again %m
  ret i1 false
match:
  %which = phi i64 [ %n, %n.body ], [ %m, %spell ]
  %slot = add i64 %count, %which
  %is_option = icmp sge i64 %slot, %options
  br i1 %is_option, label %option, label %parameter
option:
  %next_option = load i64, ptr %next_option.at
  %in_order = icmp eq i64 %slot, %next_option
  %after = add i64 %next_option, 1
  store i64 %after, ptr %next_option.at
  br i1 %in_order, label %parameter, label %no
parameter:
  %by_name = item ptr %named_args %k
  put ptr %by_name %slots %slot
  br label %k.latch
  again %k
  br label %fill
fill:
  %defaults = field ptr %plan Plan.defaults
  loop %f to %bound
  %there = item ptr %slots %f
  %missing = icmp eq ptr %there, null
  br i1 %missing, label %default, label %f.latch
default:
  %by_default = item ptr %defaults %f
  put ptr %by_default %slots %f
  %nothing = icmp eq ptr %by_default, null
  br i1 %nothing, label %no, label %f.latch
  again %f
  br label %yes
yes:
  ret i1 true
no:
  ret i1 false
}

; Take the containers among the arguments apart and compare the fixed values; whether all is as the plan says.
define internal i1 @walk(ptr %plan, ptr %slots) {
  %steps = field i64 %plan Plan.walks
  %records = field ptr %plan Plan.walk_records
  loop %s to %steps
  %s.place = mul i64 %s, WALK_BYTES
  %step = getelementptr i8, ptr %records, i64 %s.place
  %slot = field i64 %step Walk.slot
  %object = item ptr %slots %slot
  %want.type = field ptr %step Walk.type
  %count = field i64 %step Walk.count
  %keys = field ptr %step Walk.keys
  %first = field i64 %step Walk.first
  %parts = getelementptr ptr, ptr %slots, i64 %first
  %value = field ptr %step Walk.value
  %type = field ptr %object Object.type
  %typed = icmp eq ptr %type, %want.type
  %op = field i64 %step Walk.op
  switch i64 %op, label %no [
    i64 WALK_IS, label %is
    i64 WALK_EQUAL, label %equal
    i64 WALK_ALIVE, label %alive
    i64 WALK_BITS, label %bits
    i64 WALK_TUPLE, label %tuple
    i64 WALK_LIST, label %list
    i64 WALK_DICT, label %dict
    i64 WALK_FIELDS, label %fields
  ]
is:
  %same = icmp eq ptr %object, %value
  br i1 %same, label %s.latch, label %no
equal:
  %identical = icmp eq ptr %object, %value
  br i1 %identical, label %s.latch, label %differs
differs:
  br i1 %typed, label %compare, label %no
compare:
  %alike = call i32 @PyObject_RichCompareBool(ptr %object, ptr %value, i32 2)
  %equals = icmp eq i32 %alike, 1
  br i1 %equals, label %s.latch, label %no
alive:
  %referent = call ptr @PyObject_Vectorcall(ptr %value, ptr null, i64 0, ptr null)
  call void @Py_DecRef(ptr %referent)           ; the argument itself, if it is right
  %is_referent = icmp eq ptr %referent, %object
  br i1 %is_referent, label %s.latch, label %no
bits:
  br i1 %typed, label %number, label %no
number:
  %float = call double @PyFloat_AsDouble(ptr %object)
  %have.bits = bitcast double %float to i64
  %want.bits = ptrtoint ptr %value to i64
  %same.bits = icmp eq i64 %have.bits, %want.bits
  br i1 %same.bits, label %s.latch, label %no
tuple:
  br i1 %typed, label %tuple.typed, label %no
tuple.typed:
  %tuple.size = call i64 @PyTuple_Size(ptr %object)
  %tuple.sized = icmp eq i64 %tuple.size, %count
  br i1 %tuple.sized, label %tuple.take, label %no
tuple.take:
  loop %t to %count
  %item = call ptr @PyTuple_GetItem(ptr %object, i64 %t)
  call void @Py_IncRef(ptr %item)
  put ptr %item %parts %t
  br label %t.latch
  again %t
  br label %s.latch
list:
  br i1 %typed, label %list.typed, label %no
list.typed:
  %list.size = call i64 @PyList_Size(ptr %object)
  %list.sized = icmp eq i64 %list.size, %count
  br i1 %list.sized, label %list.take, label %no
list.take:
  loop %l to %count
  %element = call ptr @PyList_GetItem(ptr %object, i64 %l)
  call void @Py_IncRef(ptr %element)
  put ptr %element %parts %l
  br label %l.latch
  again %l
  br label %s.latch
dict:
  br i1 %typed, label %dict.typed, label %no
dict.typed:
  %items = call i1 @walk_dict(ptr %object, i64 %count, ptr %keys, ptr %parts)
  br i1 %items, label %s.latch, label %no
fields:
  br i1 %typed, label %fields.typed, label %no
fields.typed:
  loop %f to %count
  %name = item ptr %keys %f
  %field = call ptr @PyObject_GetAttr(ptr %object, ptr %name)
  put ptr %field %parts %f
  %absent = icmp eq ptr %field, null
  br i1 %absent, label %fault, label %f.latch
  again %f
  br label %s.latch
fault:
  %kind = field ptr %plan Plan.absent
  %matches = call i32 @PyErr_ExceptionMatches(ptr %kind)
  %unset = icmp ne i32 %matches, 0
  br i1 %unset, label %forget, label %no
forget:
  call void @PyErr_Clear()
  br label %no
  again %s
  ret i1 true
no:
  ret i1 false
}

; Take the values out of a dict that has just these keys in this order; whether it has.
define internal i1 @walk_dict(ptr %dict, i64 %count, ptr %keys, ptr %parts) {
  %place = alloca i64
  %key.at = alloca ptr
  %value.at = alloca ptr
  store i64 0, ptr %place
  %size = call i64 @PyDict_Size(ptr %dict)
  %sized = icmp eq i64 %size, %count
  br i1 %sized, label %take, label %no
take:
  loop %d to %count
  %more = call i32 @PyDict_Next(ptr %dict, ptr %place, ptr %key.at, ptr %value.at)
  %is_there = icmp ne i32 %more, 0
  br i1 %is_there, label %there, label %no
there:
  %key = load ptr, ptr %key.at
  %value = load ptr, ptr %value.at
  call void @Py_IncRef(ptr %value)
  put ptr %value %parts %d
  %wanted = item ptr %keys %d
  %identical = icmp eq ptr %key, %wanted
  br i1 %identical, label %d.latch, label %compare
compare:                                        ; which may run code that changes the dict
  call void @Py_IncRef(ptr %key)
  %alike = call i32 @PyObject_RichCompareBool(ptr %key, ptr %wanted, i32 2)
  call void @Py_DecRef(ptr %key)
  %equals = icmp eq i32 %alike, 1
  br i1 %equals, label %d.latch, label %no
  again %d
  ret i1 true
no:
  ret i1 false
}

; Put the outputs, in their slots, into the containers of the result; false with an exception set.
define internal i1 @build(ptr %plan, ptr %slots) {
  %argument = alloca ptr
  %steps = field i64 %plan Plan.builds
  %records = field ptr %plan Plan.build_records
  %first = field i64 %plan Plan.built
  %new_object = field ptr %plan Plan.new
  loop %s to %steps
  %s.place = mul i64 %s, BUILD_BYTES
  %step = getelementptr i8, ptr %records, i64 %s.place
  %slot = add i64 %first, %s
  %count = field i64 %step Build.count
  %parts = field ptr %step Build.parts
  %keys = field ptr %step Build.keys
  %value = field ptr %step Build.value
  %op = field i64 %step Build.op
  switch i64 %op, label %a_tuple [
    i64 BUILD_IS, label %is
    i64 BUILD_LIST, label %a_list
    i64 BUILD_DICT, label %a_dict
    i64 BUILD_FIELDS, label %fields
  ]
is:
  call void @Py_IncRef(ptr %value)
  put ptr %value %slots %slot
  br label %s.latch
a_tuple:
  %tuple = call ptr @PyTuple_New(i64 %count)
  put ptr %tuple %slots %slot
  %no.tuple = icmp eq ptr %tuple, null
  br i1 %no.tuple, label %no, label %tuple.fill
tuple.fill:
  loop %t to %count
  %t.slot = item i64 %parts %t
  %t.part = item ptr %slots %t.slot
  call void @Py_IncRef(ptr %t.part)
  call i32 @PyTuple_SetItem(ptr %tuple, i64 %t, ptr %t.part)
  br label %t.latch
  again %t
  %made = icmp eq i64 %op, BUILD_MAKE
  br i1 %made, label %make, label %s.latch
make:
  store ptr %tuple, ptr %argument
  %other = call ptr @PyObject_Vectorcall(ptr %value, ptr %argument, i64 1, ptr null)
  put ptr %other %slots %slot
  call void @Py_DecRef(ptr %tuple)
  %no.other = icmp eq ptr %other, null
  br i1 %no.other, label %no, label %s.latch
a_list:
  %list = call ptr @PyList_New(i64 %count)
  put ptr %list %slots %slot
  %no.list = icmp eq ptr %list, null
  br i1 %no.list, label %no, label %list.fill
list.fill:
  loop %l to %count
  %l.slot = item i64 %parts %l
  %l.part = item ptr %slots %l.slot
  call void @Py_IncRef(ptr %l.part)
  call i32 @PyList_SetItem(ptr %list, i64 %l, ptr %l.part)
  br label %l.latch
  again %l
  br label %s.latch
a_dict:
  %dict = call ptr @PyDict_New()
  put ptr %dict %slots %slot
  %no.dict = icmp eq ptr %dict, null
  br i1 %no.dict, label %no, label %dict.fill
dict.fill:
  loop %d to %count
  %d.slot = item i64 %parts %d
  %d.part = item ptr %slots %d.slot
  %d.key = item ptr %keys %d
  %d.failed = call i32 @PyDict_SetItem(ptr %dict, ptr %d.key, ptr %d.part)
  %d.good = icmp eq i32 %d.failed, 0
  br i1 %d.good, label %d.latch, label %no
  again %d
  br label %s.latch
fields:
  store ptr %value, ptr %argument
  %instance = call ptr @PyObject_Vectorcall(ptr %new_object, ptr %argument, i64 1, ptr null)
  put ptr %instance %slots %slot
  %no.instance = icmp eq ptr %instance, null
  br i1 %no.instance, label %no, label %fields.fill
fields.fill:
  loop %f to %count
  %f.slot = item i64 %parts %f
  %f.part = item ptr %slots %f.slot
  %f.key = item ptr %keys %f
  %f.failed = call i32 @PyObject_GenericSetAttr(ptr %instance, ptr %f.key, ptr %f.part)
  %f.good = icmp eq i32 %f.failed, 0
  br i1 %f.good, label %f.latch, label %no
  again %f
  br label %s.latch
  again %s
  ret i1 true
no:
  ret i1 false
}
"""
