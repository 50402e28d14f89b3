{
  "targets": [
    {
      "target_name": "millrace_cmake",
      "type": "none",
      "actions": [
        {
          "action_name": "build with CMake",
          "inputs": [ "CMakeLists.txt" ],
          "outputs": [ "build/Release/millrace.node" ],
          "action": [ "node", "scripts/build-native.mjs" ]
        }
      ]
    }
  ]
}
